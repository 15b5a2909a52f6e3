"""What all commands share: flags, help, sweeps, and one line instead of a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from logbook import files, leave
from logbook.errors import Exit, UserError, no_memory, one_line
from logbook.gl import check_setting
from logbook.signals import clearing_up
from logbook.streams import outlive_the_screen
from logbook.words import folder as typed_folder

Stage = Callable[[dict[str, Any], Path, tuple[str, ...]], None]
"""What a command does with a checked config, its run folder and the overrides as typed."""

INTERRUPTED = 128 + 2
"""The code of a command stopped by Ctrl-C where nothing was to be saved."""


def command(name: str, stage: Stage) -> NoReturn:
    """Run the command `name` (a yaml of `configs/`) on `sys.argv` and exit with its code."""
    guard(lambda: _command(name, stage, sys.argv[1:]))


def guard(function: Callable[[], int | None]) -> NoReturn:
    """Call it and exit: 0, the code it returns, or that of the error, which is told in one line."""
    # OpenMP's threads spin while they wait for each other, which on shared cores takes the very
    # time they wait for. An update of SAC, two threads on two cores: as libgomp comes 6 ms alone
    # and over 60 beside two busy processes; asleep at once 8 and 20; spinning briefly 6 to 8, 19.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    outlive_the_screen()
    try:
        with clearing_up():
            code = function() or 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
        if isinstance(e.code, str):
            sys.stderr.write(e.code + "\n")
    except (Exception, KeyboardInterrupt) as e:
        code = report(e)
    sys.exit(code)


def report(error: BaseException, run_dir: Path | None = None, what: str = "") -> int:
    """Tell an error on stderr and return the exit code.

    A mistake or lack that the user can mend is one line; anything else is a fault of ours (or of
    a plug-in) and keeps its traceback. `what` says which of several runs failed.
    """
    kept = run_dir is not None and any((run_dir / "checkpoints").glob("step-*"))
    again = "the same command goes on from the last checkpoint" if kept else "nothing was saved"
    label = f"{what}: " if what else ""
    if isinstance(error, KeyboardInterrupt):
        sys.stderr.write(f"\n{label}interrupted; {again}\n")
        return Exit.AGAIN if kept else INTERRUPTED
    if getattr(error, "one_line", False):  # a UserError, or a world that cannot go on
        code = getattr(error, "code", Exit.CONFIG)
        intro = "" if code == Exit.AGAIN else "error: "
        sys.stderr.write(f"{intro}{one_line(f'{label}{error}')}\n")
        return int(code)
    if no_memory(error):
        traceback.clear_frames(error.__traceback__)  # the line wants some, too
        told = " ".join(str(error).split())[:120] or type(error).__name__
        line = f"error: {label}out of memory ({told}): make what is set large smaller, such as "
        line += f"agent.replay_size, num_envs or hidden; {again}"
        sys.stderr.write(f"{one_line(line)}\n")
        return int(Exit.CAPABILITY)
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        line = f"error: {label}{where}{error.strerror}; {_DISK[error.errno]}; {again}"
        sys.stderr.write(f"{one_line(line)}\n")
        return int(Exit.SETUP)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # no such path can exist
        shown = str(error.filename)[:60]
        line = f"error: {label}{shown}...: {error.strerror}; check that path; {again}"
        sys.stderr.write(f"{one_line(line)}\n")
        return int(Exit.CONFIG)
    if isinstance(error, FloatingPointError):
        sys.stderr.write(f"error: {label}{error}: try a lower learning rate; {again}\n")
        return int(Exit.CONFIG)
    sys.stderr.write("".join(traceback.format_exception(error)))
    where = f" in {run_dir}" if run_dir is not None else ""
    line = f"error: {label}{type(error).__name__}, see above{where}; {again}"
    sys.stderr.write(f"{one_line(line)}\n")
    return 1


_DISK = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room in your quota",
    errno.EMFILE: "allow more open files, with ulimit -n 1024",
    errno.ENFILE: "too many files are open on this machine: close some",
    errno.ENOMEM: "free memory, or raise its limit",
    errno.EIO: "see that this disk is sound",
    errno.EROFS: "choose a folder that can be written with hydra.run.dir=FOLDER",
    errno.EACCES: "choose a folder that you may write with hydra.run.dir=FOLDER",
}


_ELSEWHERE = "choose another with hydra.run.dir=FOLDER"


def writable(folder: Path, megabytes: int = 64, remedy: str = _ELSEWHERE) -> None:
    """See that the run folder, or the one it will be made in, takes files; makes no folder.

    Raises `UserError` with code 3, which ends with the remedy.
    """
    try:
        there = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
        probe = there / f".probe-{os.getpid()}"
        try:
            files.write(probe, b"\0" * 65536)
        finally:
            if probe.exists():
                probe.unlink()
        space = os.statvfs(there)
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "its disk is full" if full else f"cannot be written ({e.strerror})"
        raise UserError(f"run folder {folder}: {problem}; {remedy}", Exit.SETUP) from None
    free = space.f_bavail * space.f_frsize // 2**20
    if space.f_blocks and free < megabytes:
        raise UserError(
            f"run folder {folder}: its disk is full ({free} MB free, want {megabytes}); make room, "
            f"or {remedy}",
            Exit.SETUP,
        )


def takes_out(parser: argparse.ArgumentParser) -> None:
    """Let a command that looks at a run take `--out`."""
    told = "write the pages there, not into RUN: for a run that is read-only"
    parser.add_argument("--out", type=typed_folder, metavar="FOLDER", help=told)


def outlet(run: Path, out: Path | None) -> Path:
    """The folder for what is made of a look at a run: `out`, which is made, or the run's own.

    Raises `UserError`: code 3 if it takes no files, 2 if `out` is a run itself.
    """
    if out is None:
        writable(run, remedy="write the pages elsewhere with --out FOLDER")
        return run
    remedy = "choose another with --out FOLDER"
    if any((out / name).exists() for name in ("config.yaml", "run.json", "checkpoints")):
        raise UserError(f"--out {out} is a run, whose own pages would be lost; {remedy}")
    writable(out, remedy=remedy)
    out.mkdir(parents=True, exist_ok=True)
    files.check_run_folder(out)
    return out


def device_exists(device: str) -> None:
    """Refuse `cuda` on a machine without, as far as that can be told without torch (code 4)."""
    if not device.startswith("cuda"):
        return
    from importlib.metadata import PackageNotFoundError, version

    remedy = "use device=auto or device=cpu"
    try:
        if version("torch").endswith("+cpu"):
            raise UserError(
                f"device={device}: the installed torch is a CPU build; {remedy}, or set up again "
                "with PRETRAIN_TORCH=cuda",
                Exit.CAPABILITY,
            )
    except PackageNotFoundError:
        raise UserError("torch is not installed: run scripts/pretrain once", Exit.SETUP) from None
    if not any(
        Path(p).exists() for p in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
    ):
        raise UserError(
            f"device={device}: this machine has no GPU, or no driver for it; {remedy}",
            Exit.CAPABILITY,
        )


class _Give(argparse.Action):
    """A flag without a value by which a person gives leave to import."""

    def __call__(self, *_: Any) -> None:
        leave.give()


def takes_leave(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--allow-import`."""
    parser.add_argument(leave.FLAG, action=_Give, nargs=0, help=leave.HELP)


def _flags(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", nargs="?", const="job", choices=_CFG)
    parser.add_argument("--config-dir", action="append", metavar="FOLDER")
    takes_leave(parser)
    for flag in ("--hydra-help", "--shell-completion", "-sc"):
        parser.add_argument(flag, dest="hydra", action="append_const", const=flag)
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=_INFO)
    return parser


_CFG = ["job", "why", "hydra", "all"]
_INFO = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]


def _command(name: str, stage: Stage, argv: list[str]) -> int:
    parser = _flags(name)

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; see {name} --help")

    parser.error = refuse  # type: ignore[method-assign]
    flags = parser.parse_intermixed_args(argv)
    if flags.help:
        from logbook.help import help_text

        sys.stdout.write(help_text(name, flags.config_dir or []))
        return 0
    if flags.hydra or flags.info or flags.cfg in ("hydra", "all"):
        from logbook.sweep import show

        shown = [f"--info={flags.info}"] if flags.info else []
        shown += ["--cfg=hydra"] if flags.cfg else []
        show(name, [*(flags.hydra or []), *shown], flags.overrides, flags.config_dir)
        if flags.cfg != "all":
            return 0
    if flags.cfg == "why":
        from logbook.why import why

        lines = why(name, flags.overrides, flags.config_dir, flags.multirun)
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    if flags.multirun:
        from logbook.sweep import run_all

        return run_all(name, stage, flags.overrides, flags.config_dir)
    from logbook.compose import compose

    job = compose(name, flags.overrides, flags.config_dir)
    if flags.cfg:
        from logbook.identity import to_yaml

        sys.stdout.write(to_yaml(job.config).decode())
        return 0
    return perform(stage, job.config, job.run_dir, job.overrides)


def perform(
    stage: Stage, config: dict[str, Any], run_dir: Path, overrides: tuple[str, ...], what: str = ""
) -> int:
    """One run: the checks that need no torch, then the stage; returns the exit code."""
    try:
        check_setting()
        device_exists(config["device"])
        writable(run_dir)
        stage(config, run_dir, overrides)
    except SystemExit as e:  # nobody here does: a plug-in or an environment leaves in mid-run
        error = UserError(f"something called sys.exit({e.code!r}) in the middle of this run")
        return report(error, run_dir, what)
    except (Exception, KeyboardInterrupt) as e:
        return report(e, run_dir, what)
    return 0
