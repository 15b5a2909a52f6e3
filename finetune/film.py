"""One episode of the final policy as a video."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from finetune.base import Player
from finetune.evaluate import evaluate
from finetune.world import TaskWorld
from logbook import files, gl, progress
from logbook.attempt import attempt, patient
from logbook.video import Video, ffmpeg

FRAMES = 250
SMOOTH = 25  # frames a second that suffice
PICTURE = (480, 320)


def film(
    place: Path, factory: Callable[..., TaskWorld], player: Player, seed: int, name: str
) -> dict[str, str]:
    """Draw an episode into `place`/NAME.mp4; what summary.json says of it: `video`, maybe `why`.

    Where nothing can be drawn, `video` is "off" and `why` says what is missing. Raises OSError if
    the folder takes no files.
    """
    files.subfolder(place)
    why = attempt(lambda: _film(place / f"{name}.mp4", factory, player, seed))
    if why:
        progress.say(f"no video: {why}")
        return {"video": "off", "why": why}
    return {"video": f"videos/{name}.mp4"}


def _film(path: Path, factory: Callable[..., TaskWorld], player: Player, seed: int) -> None:
    ffmpeg()
    world = patient(factory, num_envs=1, render_mode="rgb_array")
    if "mujoco" in sys.modules:
        gl.choose()  # before anything is drawn: the default backend wants a display
    try:
        fps = float(world.metadata.get("render_fps", SMOOTH))
        stride = max(1, round(fps / SMOOTH))
        taken = evaluate(world, player, seed, every=stride)
        assert taken.snapshots is not None
        with Video(path, fps / stride) as video:
            for row in taken.snapshots[:FRAMES]:
                video.add(world.draw(row, *PICTURE))
    finally:
        world.close()
