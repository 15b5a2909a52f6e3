"""Videos: frames streamed to ffmpeg one by one, so that none of them are kept.

imageio_ffmpeg brings the program. Its `write_frames` (0.8.1) was tried in place of the process
here: on a full disk it closes without an error and leaves half a file, as it never asks how ffmpeg
ended, and what ffmpeg says goes to the terminal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from logbook.files import TEMPORARY
from logbook.signals import TookTooLong, within

PATIENCE = 60.0  # seconds that ffmpeg may take for a frame, or to end

_ENCODER = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p")
# One thread and a short look-ahead: a hundred small frames need no more, and memory stays small.
_SMALL = ("-threads", "1", "-x264-params", "rc-lookahead=10", "-movflags", "+faststart")


def ffmpeg() -> str:
    """The program: imageio-ffmpeg brings its own. Raises RuntimeError if there is none."""
    try:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as reason:
        raise RuntimeError(f"no ffmpeg: pip install imageio-ffmpeg ({reason})") from reason
    return str(found)


class Video:
    """Writes an H.264 mp4 at `path`, which appears whole or not at all. Use as a context manager.

    Frames are uint8 [height, width, 3], sides even. Raises OSError if ffmpeg fails, TookTooLong if
    it hangs.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._part = path.with_name(f"{TEMPORARY}{os.getpid()}-{path.name}")
        self._ffmpeg: subprocess.Popen[bytes] | None = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame."""
        if self._ffmpeg is None:
            self._start(frame)
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(f"frame is {frame.dtype} {frame.shape}, want uint8 {self._shape}")
        assert self._ffmpeg is not None and self._ffmpeg.stdin is not None
        try:
            with within(PATIENCE, "ffmpeg with a frame"):
                self._ffmpeg.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            raise _failed(self._ffmpeg, self.path, _said(self._ffmpeg)) from None

    def _start(self, frame: NDArray[np.uint8]) -> None:
        height, width, channels = frame.shape
        if height % 2 or width % 2 or channels != 3:
            raise ValueError(f"frame is {frame.shape}, want [even height, even width, 3]")
        self._shape = frame.shape
        given = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}")
        words = [ffmpeg(), "-y", "-loglevel", "error", *given, "-r", f"{self.fps:g}", "-i", "-"]
        words += [*_ENCODER, *_SMALL, "-f", "mp4", str(self._part)]
        self._ffmpeg = _launch(words, subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        process, self._ffmpeg = self._ffmpeg, None
        try:
            if process is None:
                return
            if kind is None:
                said = _said(process)
                _finish(process, self._part, self.path, said)
        finally:
            if process is not None:
                _end(process)
            self._part.unlink(missing_ok=True)


def tile(paths: Sequence[Path], out: Path, columns: int, size: tuple[int, int]) -> None:
    """Play videos of equal length side by side, row by row, each scaled to `size` (w, h), even.

    Raises OSError if ffmpeg fails, TookTooLong if it hangs.
    """
    width, height = size
    names = [f"[v{i}]" for i in range(len(paths))]
    scaled = [f"[{i}:v]scale={width}:{height}{name}" for i, name in enumerate(names)]
    layout = "|".join(f"{i % columns * width}_{i // columns * height}" for i in range(len(paths)))
    stack = f"{''.join(names)}xstack=inputs={len(paths)}:layout={layout}:fill=white[out]"
    graph = ";".join([*scaled, stack]) if len(paths) > 1 else f"{scaled[0]};[v0]null[out]"
    part = out.with_name(f"{TEMPORARY}{os.getpid()}-{out.name}")
    inputs: list[Any] = [a for path in paths for a in ("-threads", "1", "-i", str(path))]
    words = [*(ffmpeg(), "-y", "-loglevel", "error", *inputs, "-filter_complex", graph)]
    words += [*("-map", "[out]", *_ENCODER, *_SMALL, "-f", "mp4", str(part))]
    process = _launch(words, subprocess.DEVNULL)
    try:
        _finish(process, part, out, _said(process, PATIENCE * (1 + len(paths))))
    finally:
        _end(process)
        part.unlink(missing_ok=True)


def _launch(words: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    """ffmpeg, in a session of its own: Ctrl-C is for us, and its children end with it."""
    return subprocess.Popen(
        words,
        stdin=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _said(process: subprocess.Popen[bytes], patience: float = PATIENCE) -> str:
    """Wait for the end; the first line of complaint. Raises TookTooLong."""
    try:
        said = process.communicate(timeout=patience)[1]
    except subprocess.TimeoutExpired:
        raise TookTooLong(f"ffmpeg took over {patience:g} s to end") from None
    return said.decode(errors="replace").split("\n")[0]


def _finish(process: subprocess.Popen[bytes], part: Path, path: Path, said: str) -> None:
    """Put what ffmpeg has written in its place. Raises OSError if it failed."""
    if process.returncode or not part.is_file() or not part.stat().st_size:
        raise _failed(process, path, said)
    part.replace(path)


def _failed(process: subprocess.Popen[bytes], path: Path, said: str) -> OSError:
    code = process.returncode
    ended = f"ffmpeg ended with {f'signal {-code}' if code < 0 else code}"
    return _error(path, said or (ended if code else "ffmpeg wrote nothing"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """See that nothing of ffmpeg is left, also of a script that stands for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # frames that nobody took
                pipe.close()


def _error(path: Path, said: str) -> OSError:
    if "No space left" in said:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return OSError(f"{path.name} could not be written: {said}")
