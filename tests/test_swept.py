"""Runs of a sweep have folders of their own, whose names say what varies and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from logbook import swept
from logbook.compose import sweep
from logbook.errors import UserError


def folders(*words: str, command: str = "pretrain") -> list[str]:
    return [str(job.run_dir) for job in sweep(command, list(words))]


def test_a_folder_says_what_varies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert folders("env=point", "agent.tau=0.5", "seed=0,1") == [
        "runs/diayn-point/base/0",
        "runs/diayn-point/base/1",
    ]
    assert folders("env=point", "skill.num_skills=3,4", "steps=640,1280", "num_envs=8")[::3] == [
        "runs/diayn-point/base/skill.num_skills=3,steps=640/0",
        "runs/diayn-point/base/skill.num_skills=4,steps=1280/0",
    ]
    old = Path("runs/diayn-point/base/agent.tau=0.5/0")  # as older versions named it
    old.mkdir(parents=True)
    (old / "config.yaml").touch()
    assert folders("env=point", "agent.tau=0.5", "seed=0,1")[0] == str(old)


def test_two_sources_of_one_name_are_told_apart() -> None:
    a, b = folders("tasks=skills", "from=a/runs/x/base/0,b/runs/x/base/0", command="metatrain")
    assert a != b and a.startswith("runs/rl2-skills/base/from=a_runs_x_base_0-")


@pytest.mark.parametrize(
    "words", [["seed=0,0"], ["agent.tau=0.1,0.10"], ["seed=0,1", "hydra.sweep.subdir=x"]]
)
def test_runs_that_would_share_a_folder_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="runs 1 and 2 of this sweep .* would share the folder"):
        sweep("pretrain", ["env=point", *words])


VALUES = [
    "x > 0", "x < 0", "x_0", "'x/../y'", "x/../y", "..", ".", "'..'", "0.1", "0.10", "1e-1", "a'b",
    "[16,16]", "[1616]", "null", "", "ü", "ö", "a" * 300, "a" * 301, "-x", "x" * 49, "a=b", "a,b",
]  # fmt: skip


def test_every_value_has_a_name_of_its_own_that_a_path_can_hold() -> None:
    parse = OverridesParser.create().parse_override
    jobs = [[parse(f"k{key}=1") for key in range(60)]]
    told = []
    for text in VALUES:
        override = parse("k=1")
        override.input_line = f"k={text}"
        jobs.append([override])
    for job in jobs:
        told.append(swept.name(job, {o.key_or_group for o in job}))
    assert len(set(told)) == len(told)
    for one in told:
        assert len(one) < 200 and "/" not in one and one.isascii() and not set(one) & set("'\" []$")
