"""What a file of a --config-dir may say, and what may be typed: the rest is one line, code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbook import leave
from logbook.compose import compose, sweep
from logbook.config import CONFIGS
from logbook.errors import UserError
from logbook.help import help_text
from logbook.sweep import _leave_nothing, run_all

GLOBAL = "# @package _global_\n"
POINT = (CONFIGS / "env" / "point.yaml").read_text()


def put(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(folder: Path, words: list[str], *told: str, command: str = "pretrain") -> None:
    for reader in (compose, sweep):
        with pytest.raises(UserError) as e:
            reader(command, words, [str(folder)])
        assert e.value.code == 2 and all(word in str(e.value) for word in told), str(e.value)


HOSTILE = {
    "callbacks": "hydra: {callbacks: {x: {_target_: builtins.open, file: PWNED, mode: w}}}\n",
    "logging": "hydra: {job_logging: {handlers: {x: {'()': os.mkdir, path: PWNED}}}}\n",
    "hydra_logging": "hydra: {hydra_logging: {handlers: {x: {class: logging.FileHandler}}}}\n",
    "sweep": "hydra: {sweep: {dir: /tmp/PWNED, subdir: x}}\n",
    "run": "hydra: {run: {dir: /tmp/PWNED}}\n",
    "searchpath": "hydra: {searchpath: ['file:///tmp']}\n",
    "launcher": "defaults:\n- override hydra/launcher: joblib\n",
    "absolute": "defaults:\n- /hydra/launcher: joblib\n",
    "logging_group": "defaults:\n- override /hydra/job_logging: default\n",
    "package": "defaults:\n- /env@hydra: point\n",
    "up": "defaults:\n- /env: ../../../etc/passwd\n",
    "root": "defaults:\n- /etc/passwd\n",
    "many": "defaults:\n- /env: [point, maze]\n",
    "typed": "defaults:\n- /env: 7\n",
    "secret": "name: ${oc.env:HOME}\n",
    "decode": "seed: ${oc.decode:'3'}\n",
    "later": "name: ${now:%Y}\n",
    "ours": "name: ${run_name:x}\n",
    "inner": "agent: {lr: '${hydra:job.num}'}\n",
    "target": "skill: {_target_: os.system}\n",
    "stranger": "stranger: 1\n",
    "word": "skill: rnd\n",
    "dotted": "agent.lr: 1\n",
    "alias": "name: &a x\nseed: *a\n",
    "tab": "agent:\n\tlr: 1\n",
    "twice": "seed: 1\nseed: 2\n",
    "number": "defaults: 7\n",
    "circle": "defaults:\n- circle\n",
    "deep": "name: " + "[" * 5000 + "\n",
    "nul": "name: \0\n",
    "date": "name: !!timestamp 2020-01-01\n",
    "object": "name: !!python/object/apply:os.system [x]\n",
    "words": "7: x\n",
    "list": "- 1\n",
    "empty": "",
    "scalar": "hello\n",
    "open": "agent: [1\n",
    "digits": "steps: " + "9" * 5000 + "\n",
    "large": "name: " + "x" * 300_000 + "\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_sets_keys_of_ours_alone(name: str, tmp_path: Path) -> None:
    path = put(tmp_path, f"preset/{name}.yaml", GLOBAL + HOSTILE[name])
    refused(tmp_path, [f"preset={name}", "env=point"], str(path))


def test_files_picked_up_by_name_are_held_to_the_same(tmp_path: Path) -> None:
    base = put(tmp_path, "skill/base.yaml", GLOBAL + HOSTILE["callbacks"])
    put(tmp_path, "skill/s.yaml", "defaults: [base, _self_]\nname: rnd\n")
    refused(tmp_path, ["skill=s"], str(base), "hydra", "line 2")
    path = put(tmp_path, "env/n.yaml", GLOBAL + HOSTILE["logging"])
    refused(tmp_path, ["env=n"], str(path), "hydra")
    path = put(tmp_path, "env/m.yaml", "# @package hydra\ncallbacks: {}\n")
    refused(tmp_path, ["env=m"], str(path), "@package")
    put(tmp_path, "hydra/launcher/evil.yaml", "_target_: os.system\n")
    refused(tmp_path, ["hydra/launcher=evil"], "Could not find")


def test_nothing_runs_under_m(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "x/preset/nice.yaml", GLOBAL + HOSTILE["callbacks"])
    with pytest.raises(UserError, match="nice.yaml"):
        run_all("pretrain", lambda *_: None, ["preset=nice"], ["x"])
    assert os.listdir(tmp_path) == ["x"]


def test_special_files_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "env"
    folder.mkdir()
    os.mkfifo(folder / "pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "gone.yaml").symlink_to("nowhere")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "dir.yaml").mkdir()
    put(folder, "bytes.yaml", b"\xff\xfe")
    for name in ("pipe", "zero", "gone", "loop", "dir", "bytes"):
        refused(tmp_path, [f"env={name}"], f"{name}.yaml")
    told = help_text("pretrain", [str(tmp_path)])
    assert "pipe" in told and "cannot be read" in told
    other = put(tmp_path, "elsewhere/p.yaml", POINT)
    (folder / "linked.yaml").symlink_to(other)
    assert compose("pretrain", ["env=linked"], [str(tmp_path)]).config["env"]["name"] == "point"


def test_a_file_that_takes_in_others(tmp_path: Path) -> None:
    put(tmp_path, "env/base.yaml", POINT)
    put(tmp_path, "env/wide.yaml", "# Wide.\ndefaults: [base, _self_]\nsize: 9.0\n")
    odd = tmp_path.rename(tmp_path.with_name("a\\b, 'c'"))
    assert compose("pretrain", ["env=wide"], [str(odd)]).config["env"]["size"] == 9.0
    for i in range(12):
        put(odd, f"env/e{i}.yaml", f"defaults: [e{i + 1}, e{i + 1}]\n")
    put(odd, "env/e12.yaml", POINT)
    refused(odd, ["env=e0"], "too much")
    put(odd, "env/a.yaml", "defaults: [b]\n")
    put(odd, "env/b.yaml", "defaults: [a]\n")
    refused(odd, ["env=a"], "itself", "env/a")


TYPED = (
    (
        "+when=overlays|when=overlays|+skill.when.body.lr=1|skill.when=null|+when/x=y|+skill=rnd|++skill=rnd|"
        "env@env2=point|skill@agent=rnd|env@_global_=point|+env@x=point|@x=1|env@=point|hydra=null|"
        "hydra={}|+hydra=x|hydra.searchpath=[http://x]|+hydra.searchpath=[file:///tmp]|"
        "hydra/launcher=null|hydra.job.env_copy=[NOPE]|reference/x=y"
    ).split("|")
    + ["steps=" + "9" * n for n in (25, 4000, 5000)]
    + ["agent.hidden=" + "[" * 900]
)


@pytest.mark.parametrize("word", TYPED, ids=lambda word: word[:30])
def test_what_is_typed_works_or_is_one_line(word: str) -> None:
    for reader in (compose, sweep):
        with pytest.raises(UserError) as e:
            reader("pretrain", [word, "env=point"])
        assert e.value.code == 2 and len(str(e.value)) < 1000


def test_sweeps_of_every_kind() -> None:
    words = ("seed=range(2)", "seed=choice(0,1)", "seed=sort(1,0)", "seed=shuffle(range(2))",
             "seed=tag(t,choice(0,1))", "seed=int(0.5),int(1)")  # fmt: skip
    for word in words:
        assert {j.config["seed"] for j in sweep("pretrain", [word, "env=point"])} == {0, 1}
    found = sweep("pretrain", ["skill=glob(r*)", "env=point"])
    assert [j.config["skill"]["name"] for j in found] == ["rnd"]
    bad = ("seed=glob(*)", "skill=glob(zz*)", "seed=interval(0,3)", "seed=range(0,1000000000)",
           "seed=range(0,1,0)", "seed=nosuch(1,2)",
           "seed=shuffle(range(0,1000000000))")  # fmt: skip
    for word in bad:
        with pytest.raises(UserError) as e:
            sweep("pretrain", [word])
        assert e.value.code == 2


def test_a_number_for_a_folder() -> None:
    with pytest.raises(UserError, match="from=7 is not a run"):
        compose("finetune", ["from=7"])


def test_a_sweep_gives_no_leave_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []

    def stage(*_: object) -> None:
        seen.append(leave.typed())
        raise UserError("no luck")

    assert run_all("pretrain", stage, ["env=point", "seed=0,1"], None) == 2
    assert seen == [False, False] and os.listdir(tmp_path) == []


def test_the_list_of_a_sweep_stays_beside_its_runs(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").write_text("")
    (tmp_path / "first").mkdir()  # a run that was trained before another was refused
    _leave_nothing(tmp_path)
    assert (tmp_path / "multirun.yaml").exists()
    (tmp_path / "first").rmdir()
    _leave_nothing(tmp_path)
    assert not tmp_path.exists()
