"""Which OpenGL draws the pictures: found out once, in child processes, and remembered.

A bad driver may end the process that loads it, and its messages say nothing; so each candidate has
to draw a small picture in a child first. Ask only when a picture is wanted: a probe takes a second.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from logbook.errors import Exit, UserError

REMEDY = "apt-get install libosmesa6 (or, for a GPU, libegl1 libgl1)"

_OFF = ("disable", "disabled", "off", "false", "0")
_ANY = ("enable", "enabled", "on", "true", "1", "")
_NAMES = {
    "Linux": ("egl", "osmesa", "glfw", "glx"),
    "Darwin": ("cgl", "glfw"),
    "Windows": ("wgl", "glfw"),
}
_TRIED = {"Linux": ("egl", "osmesa"), "Darwin": ("cgl",), "Windows": ("wgl",)}

_PROBE = """
import time, mujoco
spec = '''<mujoco><worldbody><light pos="0 0 3"/><geom type="plane" size="1 1 1"/>
<geom size=".3" pos="0 0 .3" rgba="1 0 0 1"/></worldbody>
<visual><quality offsamples="0" shadowsize="0"/></visual></mujoco>'''
model = mujoco.MjModel.from_xml_string(spec)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
small = mujoco.Renderer(model, 32, 32)
small.update_scene(data)
picture = small.render()
assert picture.shape == (32, 32, 3) and picture.std() > 1, "it draws nothing"
small.close()
large = mujoco.Renderer(model, 240, 240)
large.update_scene(data)
large.render()
start = time.perf_counter()
for _ in range(10):
    large.update_scene(data)
    large.render()
print("frames/s", 10 / (time.perf_counter() - start))
"""


@dataclass(frozen=True)
class Backend:
    """`name` for MUJOCO_GL, or None if nothing draws; `why` in words, with the remedy if None.

    `frames_per_s` is the rate of a plain 240 x 240 scene when it was probed.
    """

    name: str | None
    why: str
    frames_per_s: float = 0.0


def check_setting() -> None:
    """See that mujoco can be imported: MUJOCO_GL only says what draws, and physics needs none.

    Raises `UserError` (code 3) for a word that means nothing. Where it names an OpenGL that does
    not draw here, and under which the import may fail, it is taken back, and there are no pictures.
    """
    value = _setting()
    known = _NAMES.get(platform.system(), ())
    if value not in (*known, *_OFF, *_ANY):
        raise UserError(
            f"MUJOCO_GL={value}: want one of {', '.join(known)}, disable; or unset it", Exit.SETUP
        )
    if value in known and "mujoco" not in sys.modules:
        choose()


@functools.cache
def choose() -> Backend:
    """Find what draws, and make mujoco use it from here on, also if it is imported already.

    MUJOCO_GL is honoured where it is set: other backends are not tried then.
    """
    value = _setting()
    if value in _OFF:
        return Backend(None, f"MUJOCO_GL={value} turns drawing off; unset it")
    candidates = _TRIED.get(platform.system(), ()) if value in _ANY else (value,)
    found = _remembered(candidates)
    if found is None:
        found = _try_all(candidates, asked=value not in _ANY)
        _remember(candidates, found)
    os.environ["MUJOCO_GL"] = found.name or "disable"
    if found.name is not None:
        os.environ.pop("PYOPENGL_PLATFORM", None)  # the backend sets its own; the probe had none
        if found.name != value:
            try:
                _switch()
            except Exception as e:  # another library has settled on another OpenGL before
                reason = f"{found.name} draws, but this process has loaded another OpenGL ({e})"
                return Backend(None, f"{reason}: set MUJOCO_GL={found.name} before the start")
    return found


def _setting() -> str:
    return os.environ.get("MUJOCO_GL", "").lower().strip()


def _try_all(candidates: tuple[str, ...], asked: bool) -> Backend:
    reasons = []
    for name in candidates:
        rate, reason = probe(name)
        if not reason:
            return Backend(name, "it drew a picture", rate)
        reasons.append(f"{name}: {reason}")
    remedy = f"unset MUJOCO_GL, or {REMEDY}" if asked else REMEDY
    return Backend(None, f"no OpenGL draws ({'; '.join(reasons)}): {remedy}")


def probe(name: str) -> tuple[float, str]:
    """Draw with one backend in a child: (frames/s, "") or (0, why it failed)."""
    env = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    env["MUJOCO_GL"] = name
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], env=env, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return 0.0, "takes over a minute" if isinstance(e, subprocess.TimeoutExpired) else str(e)
    if done.returncode == 0:
        return float(done.stdout.split("frames/s")[1]), ""
    if done.returncode < 0:
        return 0.0, f"its driver crashed (signal {-done.returncode})"
    lines = [line for line in done.stderr.splitlines() if line[:1].strip()]
    return 0.0, _plainly(lines[-1]) if lines else f"exit {done.returncode}"


def _plainly(line: str) -> str:
    """The last line of a traceback in words: PyOpenGL stumbles over a library that is not there."""
    error, _, said = line.partition(": ")
    if error in ("AttributeError", "TypeError", "ImportError"):
        return "its library is missing or too old"
    return (said if said and error.endswith(("Error", "Exception")) else line)[:100]


def _switch() -> None:
    """Renew what mujoco made of MUJOCO_GL, which it reads when imported."""
    if "mujoco" not in sys.modules:
        return
    context: Any = sys.modules.get("mujoco.rendering.classic.gl_context")
    if context is not None:
        importlib.reload(context)
    mujoco: Any = sys.modules["mujoco"]
    if not hasattr(mujoco, "Renderer"):  # the import had found no backend at all
        renderer = importlib.import_module("mujoco.rendering.classic.renderer")
        mujoco.Renderer = renderer.Renderer


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "autotelic" / "gl.json"


def _key(candidates: tuple[str, ...]) -> str:
    """Changes with the versions, the machine, and whenever a system library is installed."""
    parts: list[object] = [candidates, platform.node(), platform.machine(), sys.version]
    for package in ("mujoco", "PyOpenGL"):
        try:
            parts.append(version(package))
        except PackageNotFoundError:
            parts.append(None)
    for name in ("LD_LIBRARY_PATH", "MUJOCO_EGL_DEVICE_ID", "CUDA_VISIBLE_DEVICES"):
        parts.append(os.environ.get(name))
    for path in ("/etc/ld.so.cache", "/dev/nvidiactl", "/dev/dri"):
        try:
            parts.append(os.stat(path).st_mtime_ns)
        except OSError:
            parts.append(None)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _entries() -> dict[str, Any]:
    try:
        entries = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _remembered(candidates: tuple[str, ...]) -> Backend | None:
    try:
        entry = _entries()[_key(candidates)]
        found = Backend(entry["name"], str(entry["why"]), float(entry["frames_per_s"]))
    except (ValueError, KeyError, TypeError):
        return None
    return found if found.name is None or found.name in candidates else None


def _remember(candidates: tuple[str, ...], found: Backend) -> None:
    path = _cache()
    mine = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = dict(list(_entries().items())[-15:]) | {_key(candidates): asdict(found)}
        mine.write_text(json.dumps(entries, indent=1), encoding="utf-8")
        os.replace(mine, path)
    except OSError:  # a home that cannot be written only costs the next run a second
        mine.unlink(missing_ok=True)
