"""Machines without OpenGL: drawing says so, as often as it is asked, and the process lives on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TWICE = """
import envs
world = envs.make_default("cheetah", num_envs=1, render_mode="rgb_array")
world.reset(seed=0)
for size in (64, 64, 96):
    try:
        world.draw(world.snapshot()[0], size, size)
        print("drawn")
    except RuntimeError as reason:
        print("refused:", str(reason).splitlines()[0])
"""


# glfw without a display gets as far as MuJoCo itself, which aborts the process on a second try
@pytest.mark.parametrize("backend, word", [("glfw", "libosmesa6"), ("disable", "MUJOCO_GL")])
def test_without_opengl(backend: str, word: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    env |= {"MUJOCO_GL": backend, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", TWICE], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("refused:") and word in line for line in lines)
