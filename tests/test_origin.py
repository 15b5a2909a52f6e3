"""A run goes on from its source by whatever path that is typed, and wherever both lie by now."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbook import files, identity, origin
from logbook.errors import UserError
from logbook.run import Run


def run_at(folder: Path, source: str | None = None, seed: int = 0) -> dict[str, object]:
    """Open and leave a run with a config of three keys."""
    config = {"steps": 10, "seed": seed, "from": source}
    with Run.open(folder, config, stage="metatrain") as run:
        run.restore()
    return config


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run `meta` made from the run `runs/source`."""
    monkeypatch.chdir(tmp_path)
    run_at(Path("runs/source"))
    run_at(Path("runs/meta"), "runs/source")
    return tmp_path


@pytest.mark.parametrize("typed", ["runs/source/", "{}/runs/source", "./runs/../runs/source", "ln"])
def test_every_path_to_the_same_source_is_the_same_run(runs: Path, typed: str) -> None:
    Path("ln").symlink_to("runs/source")
    before = files.read_json(Path("runs/meta/run.json"))
    run_at(Path("runs/meta"), typed.format(runs))
    assert files.read_json(Path("runs/meta/run.json")) == before
    assert "from: runs/source\n" in Path("runs/meta/config.yaml").read_text()


def test_a_source_that_moved_is_typed_anew_and_then_found(runs: Path) -> None:
    Path("runs/source").rename("elsewhere")
    run_at(Path("runs/meta"), "elsewhere")
    assert origin.located("runs/source", Path("runs/meta")) == "elsewhere"
    (runs / "all").mkdir()
    for name in ("runs", "elsewhere"):
        Path(name).rename(f"all/{name}")
    assert origin.located("runs/source", Path("all/runs/meta")) == "all/elsewhere"


def test_a_stored_path_leads_there_from_any_folder(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = files.read_json(Path("runs/meta/run.json"))
    (runs / "deep").mkdir()
    monkeypatch.chdir(runs / "deep")
    found = origin.located("runs/source", Path("../runs/meta"))
    assert found is not None and Path(found).samefile(runs / "runs/source")
    run_at(Path("../runs/meta"), found)
    old = {k: v for k, v in mark.items() if not k.startswith("source")}  # from before the note
    files.replace(runs / "runs/meta/run.json", files.pretty(old))
    assert Path(origin.located("runs/source", runs / "runs/meta") or "").samefile(found)
    run_at(Path("../runs/meta"), found)
    assert files.read_json(runs / "runs/meta/run.json") == mark


def test_another_run_in_the_old_place_is_another_source(runs: Path) -> None:
    Path("runs/source").rename("moved")
    run_at(Path("runs/source"), seed=1)
    with pytest.raises(UserError, match="from: runs/source holds another run by now"):
        run_at(Path("runs/meta"), "runs/source")
    assert origin.located("runs/source", Path("runs/meta")) == "runs/source"
    run_at(Path("other"), seed=2)
    with pytest.raises(UserError, match="from: runs/source -> other"):
        run_at(Path("runs/meta"), "other")
    run_at(Path("runs/meta"), "moved")


def test_checkpoints_of_a_moved_source_stay_the_runs(runs: Path) -> None:
    ids = identity.of(Path("runs/meta"), "metatrain")
    Path("runs/source").rename("a b,ü=c")
    run_at(Path("runs/meta"), "a b,ü=c")
    assert identity.of(Path("runs/meta"), "metatrain") == ids and len(ids) == 1


def test_a_source_that_is_gone_is_still_the_same_by_its_path(runs: Path) -> None:
    Path("runs/source").rename("gone")
    run_at(Path("runs/meta"), str(runs / "runs/source"))
    with pytest.raises(UserError, match="another config"):
        run_at(Path("runs/meta"), "nowhere")
