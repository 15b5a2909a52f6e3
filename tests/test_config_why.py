"""`--cfg why`: every value of a config stands in the file and under the condition that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbook.compose import compose
from logbook.config import read_yaml
from logbook.identity import flat, to_yaml
from logbook.why import why

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = [
    ("pretrain", ""),
    ("pretrain", "skill=metra env=ant seed=3"),
    ("pretrain", "preset=diayn_paper env=point agent.lr=0.5"),
    ("metatrain", "learner=fomaml tasks=ant_direction"),
    ("metatrain", "learner=oracle tasks=point_corner learner.hidden=[8]"),
    ("metatrain", "learner=pretrained tasks=point_goal"),
    ("metatrain", "tasks.arms=50 tasks.pulls=100"),
]


def told(command: str, words: list[str], many: bool = False, dirs: list[str] | None = None):
    lines = [line for line in why(command, words, dirs, many) if not line.startswith("#")]
    return [(line.split("=")[0], line.rsplit("  ", 1)[1]) for line in lines]


def said_by(source: str, key: str) -> list[object]:
    """What the file, or the condition in it, says of a dotted key of the whole config."""
    name, _, condition = source.partition(", when ")
    data = read_yaml(ROOT / name)
    data = data["when"][condition] if condition else data
    own = key.partition(".")[2] if name.startswith(f"configs/{key.partition('.')[0]}/") else key
    return [flat(data)[k] for k in {own, key} if k in flat(data)]


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_every_value_is_where_it_is_said_to_be(command: str, words: str) -> None:
    config = flat(compose(command, words.split()).config)
    sources = dict(told(command, words.split()))
    assert sources.keys() == config.keys()
    typed = {w.split("=")[0] for w in words.split()}
    for key, source in sources.items():
        assert (source == "command line") == (key in typed), key
        if source != "command line":
            assert config[key] in said_by(source, key), (key, source)


def test_the_preset_wins_over_conditions_and_is_named() -> None:
    sources = dict(told("pretrain", ["preset=diayn_paper"]))
    assert sources["agent.replay_size"] == "configs/preset/diayn_paper.yaml"
    assert dict(told("pretrain", []))["agent.replay_size"].endswith("diayn.yaml, when agent=sac")


def test_of_a_sweep_each_run_is_told(tmp_path: Path) -> None:
    rnd = (ROOT / "configs/skill/rnd.yaml").read_text()
    (tmp_path / "skill").mkdir()
    (tmp_path / "skill/mine.yaml").write_text(f"{rnd}when: {{env=ant: {{lr: 0.5}}}}\n")
    words = ["skill=mine", "env=ant,point", "seed=1,2"]
    found = told("pretrain", words, True, [str(tmp_path)])
    assert [source for key, source in found if key == "seed"] == ["sweep"] * 4
    mine = str(tmp_path / "skill/mine.yaml")
    lr = [source for key, source in found if key == "skill.lr"]
    assert lr == [f"{mine}, when env=ant"] * 2 + [mine] * 2


def test_what_a_later_stage_inherits_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "step-000000001").mkdir(parents=True)
    (run / "config.yaml").write_bytes(to_yaml(compose("pretrain", []).config))
    (run / "run.json").write_text('{"stage": "pretrain"}')
    sources = dict(told("finetune", [f"from={run}", "agent.tau=0.5"]))
    assert sources["agent.lr"] == sources["env.name"] == f"from={run}"
    assert sources["agent.updates"] == "configs/agent/sac.yaml, when command=finetune"
    assert sources["agent.tau"] == "command line"
