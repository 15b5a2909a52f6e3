"""The command `doctor`: is this machine fit, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal, NoReturn

from logbook import gl
from logbook.build import ROOT
from logbook.cli import guard, writable
from logbook.errors import Exit, UserError, shown

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `warn` costs speed or a feature; with `fail` nothing can be trained."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def main() -> NoReturn:
    """Look at the machine; exit 0, or 3 if something fails."""
    guard(_doctor)


def examine(runs: Path) -> Iterator[Finding]:
    """All findings; `runs` is where runs are to be kept."""
    for check in (_python, _packages, _processor, _torch, _gpu, _worlds, _suite, _drawing, _video):
        yield from _safely(check)
    yield from _safely(lambda: _disk(runs))


def _doctor() -> int:
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__)
    parser.add_argument("runs", nargs="?", default="runs", help="where runs are kept (runs)")
    parser.add_argument("--json", action="store_true", help="findings as JSON")
    flags = parser.parse_args()
    findings = []
    for finding in examine(Path(flags.runs)):
        findings.append(finding)
        if not flags.json:
            sys.stdout.write(_line(finding))
            sys.stdout.flush()
    failed = any(f.verdict == "fail" for f in findings)
    if flags.json:
        report = {"fit": not failed, "findings": [asdict(f) for f in findings]}
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return Exit.SETUP if failed else Exit.DONE


def _line(f: Finding) -> str:
    remedy = f"\n{'':22}-> {f.remedy}" if f.remedy else ""
    return shown(f"{f.verdict:<5} {f.what:<14}  {f.found}{remedy}\n")


def _safely(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as e:  # one broken library must not hide the other findings
        what = getattr(check, "__name__", "disk").strip("_")
        yield Finding(what, "fail", f"{type(e).__name__}: {_first(e)}", "set up again")


def _first(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [""])[0]


def _python() -> Iterator[Finding]:
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    remedy = "" if fits else "use Python 3.11 to 3.13: PYTHON=python3.12 scripts/pretrain"
    found = f"{sys.version.split()[0]} at {sys.executable}"
    yield Finding("Python", "ok" if fits else "fail", found, remedy)


def _requirements() -> list[str]:
    """What the project asks for, from its installed metadata or its source tree."""
    project = ROOT / "pyproject.toml"
    if project.is_file():
        data = tomllib.loads(project.read_text(encoding="utf-8"))
        return [str(line) for line in data["project"]["dependencies"]]
    return [line for line in requires("autotelic") or [] if "extra ==" not in line]


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    outside = []
    wanted = [Requirement(line) for line in _requirements()]
    for requirement in wanted:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            outside.append(f"{requirement.name} is missing (want {requirement.specifier})")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            outside.append(f"{requirement.name} {installed} (tested: {requirement.specifier})")
    if outside:
        remedy = "pip install -e . -c constraints.txt, or rm -r .venv and scripts/pretrain"
        missing = any("missing" in line for line in outside)
        yield Finding("packages", "fail" if missing else "warn", "; ".join(outside), remedy)
    else:
        yield Finding("packages", "ok", f"all {len(wanted)} within their tested bounds")


def _processor() -> Iterator[Finding]:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    busy = load > 1.5 * (cores or 1)
    yield Finding(
        "processor",
        "warn" if busy else "ok",
        f"{cores} cores, load {load:.1f}",
        "other programs slow a run down: wait for them" if busy else "",
    )
    memory = psutil.virtual_memory()
    free = memory.available / 2**30
    found = f"{free:.1f} of {memory.total / 2**30:.1f} GiB free"
    scarce = free < 3
    remedy = "use a smaller agent.replay_size and num_envs" if scarce else ""
    yield Finding("memory", "warn" if scarce else "ok", found, remedy)


def _torch() -> Iterator[Finding]:
    import torch

    side = 256
    a = torch.rand(side, side)
    seconds = []
    for _ in range(100):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    rate = 2 * side**3 / min(seconds) / 1e9  # the best: other programs come and go
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    capability = torch.backends.cpu.get_cpu_capability()
    found = f"{torch.__version__} ({build}), {capability}, {torch.get_num_threads()} threads"
    plain = capability == "DEFAULT"
    remedy = "this processor has no AVX2, so training is slow" if plain else ""
    yield Finding("torch", "warn" if plain else "ok", f"{found}, {rate:.0f} GFLOP/s", remedy)


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        device = torch.cuda.get_device_properties(0)
        found = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
        yield Finding("GPU", "ok", f"{found} ({torch.cuda.device_count()} in all)")
    elif Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi"):
        cpu = torch.version.cuda is None
        found = "there is a driver, but " + ("torch is a CPU build" if cpu else "torch sees none")
        remedy = "PRETRAIN_TORCH=cuda scripts/pretrain" if cpu else "update the driver"
        yield Finding("GPU", "warn", found, remedy)
    else:
        yield Finding("GPU", "ok", "none: runs use the processor")


def _worlds() -> Iterator[Finding]:
    found = f"mujoco {version('mujoco')}, gymnasium {version('gymnasium')}"
    try:
        gl.check_setting()
        importlib.import_module("mujoco.batch")
        yield Finding("worlds", "ok", found)
    except UserError as e:
        yield Finding("worlds", "fail", str(e).partition(":")[0], str(e).partition(": ")[2])
    except ImportError as e:
        yield Finding("worlds", "fail", f"{found}: {_first(e)}", 'pip install "mujoco>=3.17,<4"')


def _suite() -> Iterator[Finding]:
    found = f"dm-control {version('dm-control')} with mujoco {version('mujoco')}"
    if int(version("mujoco").split(".")[0]) >= 4:
        yield Finding("dm_control", "fail", f"{found}: known not to work", 'pip install "mujoco<4"')
        return
    # In a child: dm_control settles on an OpenGL when imported, before one has been chosen.
    code = "from dm_control import suite; suite.load('cheetah', 'run').reset()"
    env = os.environ | {"MUJOCO_GL": "disable"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["?"])[-1]
        yield Finding(
            "dm_control", "fail", f"{found}: {reason}", "pip install -e . -c constraints.txt"
        )
    else:
        yield Finding("dm_control", "ok", found)


def _drawing() -> Iterator[Finding]:
    backend = gl.choose()
    if backend.name is None:
        reason, _, remedy = backend.why.rpartition(": ")
        found = f"none, so no videos: {reason or backend.why}"
        yield Finding("OpenGL", "warn", found, remedy if reason else "unset MUJOCO_GL")
        return
    slow = backend.frames_per_s < 30
    remedy = "videos will take long: fewer frames with atlas.frames=500" if slow else ""
    found = f"{backend.name}, {backend.frames_per_s:.0f} frames/s of 240 x 240"
    yield Finding("OpenGL", "warn" if slow else "ok", found, remedy)


def _video() -> Iterator[Finding]:
    import imageio_ffmpeg

    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        listed = subprocess.run(
            [path, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=30
        ).stdout
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
        remedy = "pip install --force-reinstall imageio-ffmpeg"
        yield Finding("ffmpeg", "warn", f"does not run: {_first(e)}", remedy)
        return
    match = re.search(r"v(\d[\d.]*)", Path(path).name)
    found = f"{match[1] if match else path}, H.264 {'yes' if 'libx264' in listed else 'no'}"
    good = "libx264" in listed
    remedy = "" if good else "unset IMAGEIO_FFMPEG_EXE: the bundled one writes H.264"
    yield Finding("ffmpeg", "ok" if good else "warn", found, remedy)


def _disk(runs: Path) -> Iterator[Finding]:
    try:
        writable(runs, megabytes=0)
    except UserError as e:
        yield Finding(
            "run folder",
            "fail",
            str(e).partition(": ")[2].rpartition("; ")[0],
            "doctor OTHER_FOLDER",
        )
        return
    there = next(p for p in (runs, *runs.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free / 2**30
    verdict: Verdict = "fail" if free < 0.1 else "warn" if free < 2 else "ok"
    remedy = "a run wants up to 1 GiB: make room" if free < 2 else ""
    yield Finding("run folder", verdict, f"{runs}: {free:.1f} GiB free", remedy)
    times, locks = _write_times(there)
    slow = times > 0.2
    remedy = "saving will hold up training: keep runs on a local disk" if slow else ""
    found = f"{1000 * times:.0f} ms to write and sync 1 MiB"
    yield Finding("disk speed", "warn" if slow else "ok", found, remedy)
    if not locks:
        remedy = "keep runs on a local disk: nothing stops two processes on one run here"
        yield Finding("locks", "fail", f"the file system of {runs} has none", remedy)


def _write_times(folder: Path) -> tuple[float, bool]:
    """Median seconds to write and sync 1 MiB in `folder`, and whether files there can be locked."""
    path = folder / f".doctor-{os.getpid()}"
    data: Any = os.urandom(2**20)
    seconds = []
    try:
        with path.open("wb") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks = True
            except OSError:
                locks = False
            for _ in range(5):
                start = time.perf_counter()
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
                seconds.append(time.perf_counter() - start)
    finally:
        path.unlink(missing_ok=True)
    return sorted(seconds)[2], locks


if __name__ == "__main__":
    main()
