"""Pictures that cannot be made: one line says why, and everything else is there."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.looped import as_frame
from logbook import attempt, video
from logbook.errors import UserError
from pretrain import atlas
from pretrain.evaluate import evaluate
from tests.test_atlas import Compass, Directions

FACTORY = partial(envs.make_default, "point", max_episode_steps=12)
PARTS: Any = (Compass(2), Directions(2))  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def judged() -> Any:
    return evaluate(FACTORY, PARTS[0], PARTS[1], 3, reps=1)


@pytest.fixture
def draws(
    judged: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Any], dict[str, str]]:
    """Makes an atlas over an earlier one; it must be whole, and say why there are no videos."""
    numbers, taken = judged
    folder = tmp_path / "run"
    (folder / "videos").mkdir(parents=True)
    (folder / "index.html").write_text("the one before")
    (folder / "videos" / "skills.mp4").write_text("the one before")

    def made(factory: Any = FACTORY) -> dict[str, str]:
        about = {"title": "toy", "next": "finetune", "seed": 3}
        outcome = atlas.make_atlas(
            folder, factory, PARTS[0], PARTS[1], taken, numbers, seed=3, about=about, frames=40
        )
        page = (folder / "index.html").read_text()
        assert "toy" in page and sorted(p.name for p in (folder / "videos").iterdir()) == [
            "map.png",
            "skills.mp4",
        ]
        assert outcome["videos"] == "off" and "\n" not in outcome["why"] and outcome["why"]
        said = capsys.readouterr()
        assert [line for line in said.out.splitlines()] == [f"no videos: {outcome['why']}"]
        assert not said.err
        return outcome

    return made


def _script(path: Path, lines: str) -> str:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("exit 3", "ffmpeg ended with 3"),
        ("kill -9 $$", "ffmpeg ended with signal 9"),
        ("head -c 9 >/dev/null; kill -9 $$", "ffmpeg ended with signal 9"),
        ("cat >/dev/null", "ffmpeg wrote nothing"),
        ("echo the disk is odd >&2; exit 1", "the disk is odd"),
        ("printf '\\377\\n' >&2; exit 1", "could not be written"),
    ],
)
def test_an_encoder_that_fails(
    draws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, why: str
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", _script(tmp_path / "ffmpeg", lines))
    assert why in draws()["why"]


@pytest.mark.parametrize("exe", ["/bin/false", "/no/such/program", "/tmp", "/dev/null"])
def test_an_encoder_that_is_none(draws: Any, monkeypatch: pytest.MonkeyPatch, exe: str) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", exe)
    draws()


@pytest.mark.parametrize("lines", ["sleep 1000 & echo $! > PID; wait", "cat > /dev/null; sleep 9"])
def test_an_encoder_that_hangs_is_ended_with_its_children(
    draws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    monkeypatch.setattr(video, "PATIENCE", 0.2)
    monkeypatch.setattr(video._said, "__defaults__", (0.2,))
    left = tmp_path / "pid"
    script = _script(tmp_path / "ffmpeg", lines.replace("PID", str(left)))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", script)
    assert "took over 0.2 s" in draws()["why"]
    if left.exists():
        child = Path("/proc") / left.read_text().strip() / "stat"
        for _ in range(500):  # its parent has gone before it
            if not child.exists() or " Z " in child.read_text():
                return
            time.sleep(0.01)
        raise AssertionError("it is still there")


def _never() -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:
            continue


def _raises(error: BaseException) -> Callable[..., Any]:
    def draw(*row: Any, **named: Any) -> Any:
        raise error

    return draw


@pytest.mark.parametrize(
    ("draw", "why"),
    [
        (lambda *row: None, ""),
        (lambda *row: np.zeros((5, 5, 3), np.uint8), ""),
        (lambda *row: "a string", ""),
        (_raises(AttributeError("no display")), "AttributeError: no display"),
        (_raises(MemoryError()), "MemoryError"),
        (_raises(KeyError("viewer")), "KeyError: 'viewer'"),
        (_raises(OSError(28, "No space left on device")), "No space left on device"),
        (_raises(UserError("a line\nof ours")), "a line of ours"),
        (_raises(SystemExit(0)), "SystemExit"),
        (_raises(BaseException("x")), "BaseException: x"),
        (lambda *row: _never(), "drawing a picture took over 0.2 s"),
    ],
)
def test_a_picture_that_fails(
    draws: Any, monkeypatch: pytest.MonkeyPatch, draw: Any, why: str
) -> None:
    monkeypatch.setattr(attempt, "PATIENCE", 0.2)

    def factory(**arguments: Any) -> Any:
        world: Any = FACTORY(**arguments)
        world.draw = draw
        return world

    assert why in draws(factory)["why"]


@pytest.mark.parametrize("error", [TypeError("takes no arguments"), UserError("env: made not")])
def test_a_world_that_cannot_be_made_to_draw(draws: Any, error: Exception) -> None:
    assert str(error) in draws(_raises(error))["why"]


def test_a_map_that_fails_costs_the_map_alone(
    judged: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(atlas, "trajectory_map", _raises(ImportError("no matplotlib")))
    numbers, taken = judged
    about = {"title": "toy", "next": "finetune", "seed": 3}
    atlas.make_atlas(
        tmp_path, FACTORY, PARTS[0], PARTS[1], taken, numbers, seed=3, about=about, videos=False
    )
    assert (tmp_path / "index.html").exists()
    assert capsys.readouterr().out == "no map: ImportError: no matplotlib\n"


@pytest.mark.parametrize(
    ("said", "first"),
    [
        (np.full((4, 6, 3), 0.5), 128),
        (np.full((4, 6, 3), 0.5, np.float16), 128),
        (np.full((4, 6, 3), 200.4), 200),
        (np.full((4, 6, 3), 300, np.int64), 255),
        (np.full((4, 6, 4), 7, np.uint8), 7),
        (np.full((4, 6), 7, np.uint8), 7),
        (np.full((4, 6, 1), True), 255),
        (np.full((3, 4, 6), 7, np.uint8), 7),
        ([np.zeros((4, 6, 3), np.uint8), np.full((4, 6, 3), 9, np.uint8)], 9),
    ],
)
def test_frames_of_every_kind_are_pictures(said: Any, first: int) -> None:
    frame = as_frame(said)
    assert frame.dtype == np.uint8 and frame.shape == (4, 6, 3) and (frame == first).all()


@pytest.mark.parametrize(
    "said",
    [
        *(None, "ansi", b"x", [], {}, 3, [None]),
        *(np.zeros((2, 3, 5)), np.zeros((0, 4, 3)), np.full((4, 6, 3), np.nan)),
    ],
)
def test_what_is_no_picture_is_told(said: Any) -> None:
    with pytest.raises(ValueError, match=r"render\(\) gave .*, want a picture"):
        as_frame(said)
