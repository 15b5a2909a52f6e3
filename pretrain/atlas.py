"""What the skills look like: a video each, all of them in one, a map, and a page with the numbers.

Everything lies in the run's folder and works offline: `index.html`, and beside it in `videos/`
`skills.mp4` (all skills), `skill_03.mp4` and its poster `skill_03.jpg`, `contact.png`, `map.png`.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from envs.base import World
from logbook import files, gl, progress
from logbook.attempt import attempt, patient
from logbook.heritage import widest
from logbook.video import Video, ffmpeg, tile
from pretrain.evaluate import Numbers, horizontal
from pretrain.page import write_page
from pretrain.pictures import (
    CAPTION,
    Picture,
    colour,
    contact_sheet,
    label,
    save,
    signed,
    trajectory_map,
)
from pretrain.rollouts import Actor, Rollouts, WorldFactory, rollouts
from skills.base import Skill

FRAMES = 2400  # drawn in all, at some 200 a second
LONGEST, SHORTEST = 250, 40  # frames of one skill
SMOOTH = 25  # frames a second that suffice
PICTURE = (288, 190)  # of a skill; the caption comes below
WIDEST = 1440  # pixels of the video of all skills
MOMENTS = 4  # of each skill, on the contact sheet
SAME = 1e-3  # snapshots closer than this (m, rad) look alike and are drawn once


def make_atlas(
    folder: Path,
    world_factory: WorldFactory,
    agent: Actor,
    skill: Skill,
    taken: Rollouts,
    numbers: Numbers,
    *,
    seed: int,
    about: Mapping[str, Any],
    videos: bool = True,
    frames: int = FRAMES,
) -> dict[str, str]:
    """Draw everything into `folder`; return what summary.json says of it: `videos`, maybe `why`.

    `taken` and `numbers` come from `evaluate` with the same `seed`: the videos then show the first
    repetition again. `about` is shown on the page: `title`, `next` (a command) and any facts. Where
    nothing can be drawn, `videos` is "off", `why` says what to install, and the rest is made.
    The videos take their places when all are there, and the page comes last: until then an earlier
    one stands. Raises OSError if the folder takes no files.
    """
    place = files.subfolder(folder / "videos")
    no_map = attempt(lambda: trajectory_map(taken, place / "map.png"))
    if no_map:
        progress.say(f"no map: {no_map}")
    outcome = {"videos": "off", "why": "not asked for"}
    if videos:
        why = attempt(lambda: _filmed(place, world_factory, agent, skill, taken, seed, frames))
        outcome = {"videos": "off", "why": why} if why else {"videos": "videos/skills.mp4"}
        if why:
            progress.say(f"no videos: {why}")
    write_page(folder / "index.html", taken, numbers, outcome, about)
    return outcome


def _filmed(place: Path, *parts: Any) -> None:
    """All videos and pictures, made aside and put in place together."""
    for left in place.glob(f"{files.TEMPORARY}film-*"):  # by a process that was killed
        files.remove(left)
    aside = place / f"{files.TEMPORARY}film-{os.getpid()}"
    aside.mkdir()
    try:
        _film(aside, *parts)
        for made in sorted(aside.iterdir()):
            made.replace(place / made.name)
    finally:
        files.remove(aside)


def _film(
    place: Path,
    world_factory: WorldFactory,
    agent: Actor,
    skill: Skill,
    taken: Rollouts,
    seed: int,
    frames: int,
) -> None:
    ffmpeg()
    num = taken.count
    world = patient(partial(widest, world_factory, num), render_mode="rgb_array")
    if "mujoco" in sys.modules:
        gl.choose()  # before anything is drawn: the default backend wants a display
    try:
        fps = float(world.metadata.get("render_fps", SMOOTH))
        stride = max(1, round(fps / SMOOTH))
        wanted = min(LONGEST, max(SHORTEST, frames // num))
        steps = min(world.world_spec.max_episode_steps, taken.rew.shape[2], stride * wanted)
        world.reset(seed=seed)
        world.draw(world.snapshot()[0], *PICTURE)  # fail now or never
        import torch

        z = torch.from_numpy(taken.z)
        filmed = rollouts(world, agent, skill, z, 1, steps, seed, judged=False, every=stride)
        stills, paths = [], []
        for k in range(num):
            path = place / f"skill_{k:02d}.mp4"
            stills.append(_one(path, world, filmed, k, fps / filmed.stride))
            paths.append(path)
    finally:
        world.close()
    columns = math.ceil(math.sqrt(num))
    width, height = PICTURE[0], PICTURE[1] + CAPTION
    shrink = min(1.0, WIDEST / (columns * width))
    size = (round(width * shrink / 2) * 2, round(height * shrink / 2) * 2)
    tile(paths, place / "skills.mp4", columns, size)
    tints = [colour(k, num) for k in range(num)]
    contact_sheet(stills, place / "contact.png", [str(k) for k in range(num)], tints)


def _one(path: Path, world: World, filmed: Rollouts, k: int, fps: float) -> list[Picture]:
    """One skill's video and poster; returns a few moments of it."""
    assert filmed.snapshots is not None
    rows = filmed.snapshots[k]
    lived = int(filmed.lengths()[k, 0])
    picked = np.linspace(0, lived / filmed.stride, MOMENTS + 1).astype(int)[1:]  # starts look alike
    picked = picked.clip(0, len(rows) - 1)
    tint, kept = colour(k, filmed.count), {}
    remarks = list(_remarks(filmed, k, len(rows)))
    drawn, frame = rows[0], world.draw(rows[0], *PICTURE)
    with Video(path, fps) as video:
        for i, row in enumerate(rows):
            if not np.allclose(row, drawn, rtol=0, atol=SAME):
                drawn, frame = row, world.draw(row, *PICTURE)
            (far, when), over = remarks[i], i * filmed.stride > lived
            labelled = label(frame, tint, f"skill {k}", far, when, over)
            video.add(labelled)
            if i in picked:
                kept[i] = label(frame, tint, "", far, when, False)
            if i == picked[len(picked) // 2]:
                save(Image.fromarray(labelled), path.with_suffix(".jpg"))
    return [kept[i] for i in picked]


def _remarks(filmed: Rollouts, k: int, count: int) -> Iterator[tuple[str, str]]:
    """How far and how fast at each frame; beside a world without a floor, the step alone."""
    spec, axes = filmed.spec, horizontal(filmed.spec)
    path = np.concatenate([filmed.start[k, :, None], filmed.feat[k]], 1)[0]  # [T + 1, F]
    lived = int(filmed.lengths()[k, 0])
    for i in range(count):
        t = min(i * filmed.stride, len(path) - 1)
        right = f"step {t}" if t <= lived else f"ended at {lived}"
        if not axes:
            yield "", right
            continue
        moved = [
            path[t, spec.feat_names.index(a)] - path[0, spec.feat_names.index(a)] for a in axes
        ]
        far = f"{signed(moved[0])} m" if len(axes) == 1 else f"{np.hypot(*moved):.1f} m"
        speed = _speed(filmed, path[t])
        yield f"{far}   {speed}" if speed else far, right


def _speed(filmed: Rollouts, feat: Any) -> str:
    spec = filmed.spec
    for suffix in ("_velocity_1s", "_velocity"):
        named = [f"{a}{suffix}" for a in horizontal(spec)]
        if all(name in spec.feat_names for name in named):
            index = [spec.feat_names.index(name) for name in named]
            unit = spec.feat_units[index[0]].split()[0]
            if len(index) == 1:
                return f"{signed(feat[index[0]])} {unit}"
            return f"{np.hypot(*feat[index]):.1f} {unit}"
    return ""
