"""Commands started as processes: new ones, or forked from one that has the libraries loaded.

A fork is a process of its own, with its own signals, limits, folder and environment; all that it
saves is the three seconds in which torch is imported. What depends on how libraries load, or on
variables that are read while they do, must be started `fresh`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
MEMORY = 7 << 30  # bytes of address space that a command may take


@dataclass(frozen=True)
class Ended:
    """How a command ended; `hung` if it had to be killed when its time was over."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    hung: bool
    seconds: float

    @property
    def said(self) -> str:
        """Everything on the screen."""
        return self.out + self.err


def entry(command: str) -> str:
    """The `module:function` behind a command, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["scripts"][command])


class Starter:
    """Starts commands one after the other; every thread needs its own. Close it at the end."""

    def __init__(self, fresh: bool = False) -> None:
        self._fresh = fresh
        self._server: subprocess.Popen[str] | None = None

    def run(
        self,
        words: tuple[str, ...],
        *,
        cwd: Path,
        env: Mapping[str, str],
        limit: float,
        fresh: bool = False,
        limits: Mapping[str, int] | None = None,
        meanwhile: Callable[[int], None] | None = None,
    ) -> Ended:
        """Run `words` in `cwd` and wait; `meanwhile` gets its process id while it runs.

        `limits` are of the kind `{"RLIMIT_NOFILE": 10}`. After `limit` seconds, or
        more on a busy machine, its group is killed.
        """
        began = time.monotonic()
        limit *= max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # others may be at work here
        log = cwd.parent / f"log-{time.monotonic_ns()}"
        out, err = Path(f"{log}.out"), Path(f"{log}.err")
        request = {"words": words, "cwd": str(cwd), "env": dict(env), "limits": dict(limits or {})}
        request |= {"out": str(out), "err": str(err)}
        if fresh or self._fresh:
            code, hung = self._new(request, limit, meanwhile)
        else:
            code, hung = self._forked(request, limit, meanwhile)
        said = [p.read_bytes().decode("utf-8", "replace") if p.exists() else "" for p in (out, err)]
        for path in (out, err):
            path.unlink(missing_ok=True)
        return Ended(words, code, said[0], said[1], hung, time.monotonic() - began)

    def _new(
        self, request: dict[str, Any], limit: float, meanwhile: Callable[[int], None] | None
    ) -> tuple[int, bool]:
        command = [sys.executable, __file__, "one"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.close()
            try:
                if meanwhile is not None:
                    meanwhile(process.pid)
            except BaseException:
                _kill(process.pid)
                raise
            try:
                return process.wait(limit), False
            except subprocess.TimeoutExpired:
                _kill(process.pid)
                return process.wait(), True

    def _forked(
        self, request: dict[str, Any], limit: float, meanwhile: Callable[[int], None] | None
    ) -> tuple[int, bool]:
        if self._server is None or self._server.poll() is not None:
            command = [sys.executable, __file__, "serve"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            env = {k: v for k, v in os.environ.items() if k != "MUJOCO_GL"}
            self._server = subprocess.Popen(
                command, text=True, env=env | {"OMP_NUM_THREADS": "1"}, **pipes
            )
        asked, said = self._server.stdin, self._server.stdout
        assert asked is not None and said is not None
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        pid = int(said.readline())
        try:
            if meanwhile is not None:
                meanwhile(pid)
        except BaseException:  # the next answer must not be taken for this one's
            _kill(pid)
            said.readline()
            raise
        hung = not select.select([said], [], [], limit)[0]
        if hung:
            _kill(pid)
        return int(said.readline()), hung

    def close(self) -> None:
        """End the process that forks."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait()
            self._server = None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it may not have made its group yet
        os.kill(pid, signal.SIGKILL)


def _serve() -> None:
    """Fork a child for every request on stdin; say its id, then its exit code."""
    for name in ("torch", "numpy", "hydra", "omegaconf", "gymnasium", "yaml", "PIL.Image"):
        importlib.import_module(name)
    for name in ("matplotlib.figure", "matplotlib.backends.backend_agg", "safetensors.numpy"):
        importlib.import_module(name)
    replies = os.fdopen(os.dup(1), "w")
    requests = os.fdopen(os.dup(0), "r")
    for line in requests:
        pid = os.fork()
        if pid == 0:
            requests.close()
            replies.close()
            _become(json.loads(line))
            return
        replies.write(f"{pid}\n")
        replies.flush()
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # what it left behind must not outlive the try
        replies.write(f"{os.waitstatus_to_exitcode(status)}\n")
        replies.flush()


def _become(request: dict[str, Any]) -> None:
    """Turn this process into the command that is asked for; ends with its SystemExit."""
    os.setsid()
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):  # ignored by whoever is under nohup
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sinks = (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for target, path in ((1, request["out"]), (2, request["err"])):
        fd = os.open(path, *sinks)
        os.dup2(fd, target)
        os.close(fd)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for name, most in ({"RLIMIT_AS": MEMORY, "RLIMIT_CORE": 0} | request["limits"]).items():
        resource.setrlimit(getattr(resource, name), (most, most))
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    command, *words = request["words"]
    if command == "sh":  # a line as a person would paste it
        os.execv("/bin/sh", ["sh", "-c", *words])
    added = [p for p in request["env"].get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:0] = ["", *(p for p in added if p not in sys.path)]  # the folder itself, as python -m
    importlib.invalidate_caches()
    module, _, function = entry(command).partition(":")
    sys.argv = [command, *words]
    tempfile.tempdir = None
    getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    if sys.argv[1:] == ["serve"]:
        _serve()
    else:
        _become(json.loads(sys.stdin.readline()))
