"""A run on disk: one folder that knows what it is, how far it is, and how to go on.

    with Run.open(folder, config, stage="pretrain") as run:
        if run.done:
            return
        start = run.restore()            # None, or (step, state)
        ...
        run.log(step, row); run.save(step, state)
        if run.stop_requested(): raise run.stopped()   # saved just before
        run.finish(summary)

Its identity is the digest of the composed config without the keys that do not change what is
learned. The same command again therefore finds its own folder and goes on, and another config in
the same folder is refused.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from logbook import checkpoint, files, identity, leave, marks, origin, progress, versions
from logbook.checkpoint import CheckpointError, Manifest, State
from logbook.errors import Exit, UserError
from logbook.headline import headline, rows
from logbook.killpoints import reach
from logbook.lock import Lock
from logbook.record import Record
from logbook.signals import GivenUp, Stop

_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between attempts to save on a full disk
_PATIENCE = 3  # rollbacks in one session before giving up


class Run:
    """One open run. Make it with `Run.open` and use it as a context manager.

    `done`: it was finished before, there is nothing to do. `step`: the last one logged, saved or
    restored. `exact`: False once it rolled back, or went on under other versions or threads.
    """

    def __init__(self, folder: Path, config: dict[str, Any], stage: str, keep: int) -> None:
        self.folder = folder
        self.config = config
        self.stage = stage
        self.identity = identity.digest(config, stage)
        self.steps = int(config["steps"])
        self.step = 0
        self.done = False
        self.exact = True
        self._rolled_back = 0
        self._suspect: list[Path] = []  # the checkpoint last rolled back to
        self._saved: tuple[int, int] | None = None  # step and length of the record
        self._checkpoints = folder / "checkpoints"
        self._keep = keep
        self._stop = Stop()
        self.unless_stopped = self._stop.spares  # for what may be given up when asked to stop
        self._versions: dict[str, str] = {}
        self._lock: Lock
        self._record: Record | None = None

    @classmethod
    def open(
        cls,
        folder: str | os.PathLike[str],
        config: dict[str, Any],
        *,
        stage: str,
        overrides: Sequence[str] = (),
        keep: int = 2,
    ) -> Run:
        """Create the run, or take up the one that is there; `config` is plain and has `steps`.

        Leaves `keep` checkpoints on disk. UserError: it is another run's, in use, or read-only.
        """
        run = cls(Path(folder), config, stage, keep)
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            files.check_run_folder(run.folder)
            reach("create.folder")
            run._lock = Lock(run.folder / "lock")
            try:
                run._open(overrides)
            except BaseException:
                run._close()
                raise
        except OSError as error:
            raise files.unwritable(run.folder, error) from None
        return run

    def _open(self, overrides: Sequence[str]) -> None:
        status = marks.status_of(self.folder)
        blank = status.state == "failed" and not checkpoint.listed(self._checkpoints)
        known = not blank and (self.folder / "config.yaml").exists()  # no claim by a failed start
        changed = identity.recognise(self.folder, self.config, self.stage) if known else []
        config = identity.begun(self.folder, self.config) if known else self.config
        self.identity = identity.digest(config, self.stage)
        leave.remember(self.identity, config.get("env", {}))
        if status.state == "finished" and status.step >= self.steps:
            self.done, self.step = True, status.step
            report = self.folder / "report.html"
            where = report if report.exists() else self.folder / "summary.json"
            progress.say(f"{self.folder} is finished ({self.step:,} steps): see {where}")
            self._close()
            return
        self._probe()
        if not known:
            if checkpoint.listed(self._checkpoints):
                raise UserError(
                    f"{self.folder} holds checkpoints but no config.yaml: "
                    "choose another folder with name=... or hydra.run.dir=...",
                    Exit.CHECKPOINT,
                )
        told = {"schema": 1, "stage": self.stage, "identity": self.identity}
        origin.note(self.folder, told, self.config, known)
        if not known or changed:
            text = "".join(f"{line}\n" for line in overrides)
            files.replace(self.folder / "overrides.txt", text.encode())
            files.replace(self.folder / "config.yaml", identity.to_yaml(config))
        reach("create.config")
        for line in changed:
            progress.say(f"continuing with {line}")
        (self.folder / "FAILED").unlink(missing_ok=True)
        self._record = Record(self.folder)
        self._set_status("running")
        watch = progress.paste("tensorboard", "--logdir", self.folder, "--host", "127.0.0.1")
        progress.say(f"run {self.folder}\nwatch it: {watch}")

    def _probe(self) -> None:
        """Save a small checkpoint and delete it: a full or read-only disk shows at once."""
        files.subfolder(self._checkpoints)
        checkpoint.sweep(self._checkpoints)
        try:
            place = self._checkpoints / f"{files.TEMPORARY}probe"
            checkpoint.save(place, {"probe": {"one": 1}}, Manifest(0))
        finally:
            checkpoint.sweep(self._checkpoints)

    def __enter__(self) -> Self:
        self._stop.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.__exit__(kind, error, trace)
        given_up = isinstance(error, GivenUp)  # a round: what was saved before it counts
        self.step = self._saved[0] if given_up and self._saved else self.step
        if not self.done:
            again = isinstance(error, UserError) and error.code == Exit.AGAIN
            self._end(error if isinstance(error, Exception) and not again else None)
        self._close()
        if given_up:
            raise self.stopped() from None

    def _end(self, error: Exception | None) -> None:
        try:
            self._lock.keep()
        except UserError:
            return  # nothing there is ours any more
        try:
            self._set_status("failed" if error else "stopped")
            if error:
                report = "".join(traceback.format_exception(error))
                files.replace(self.folder / "FAILED", report.encode())
        except OSError as second:  # the reason for the end matters more than this
            progress.warn(f"{self.folder}: {second.strerror}")

    def _close(self) -> None:
        if self._record is not None:
            self._record.close()
            self._record = None
        self._lock.release()

    def stop_requested(self) -> bool:
        """Whether a signal asked for the end: save, then raise `stopped()`."""
        return self._stop.requested

    def stopped(self) -> UserError:
        """What to raise once saved after `stop_requested`."""
        saved = f"saved at step {self._saved[0]:,}" if self._saved else "nothing was saved yet"
        line = f"stopped by {self._stop.reason or 'request'} and {saved}"
        line += f": go on with the same command, or: {progress.paste('resume', self.folder)}"
        return UserError(line, Exit.AGAIN)

    def stop_at_once(self) -> None:
        """All that counts is saved: a stop signal, past or to come, raises `stopped()` here."""
        self._lock.keep()
        self._stop.raises = self.stopped
        if self._stop.requested:
            raise self.stopped()

    def roll_back(self, reason: str) -> tuple[int, State, int]:
        """Back to the newest checkpoint after `reason`, such as a loss that is not finite.

        Returns step, state and how often this happened: draw from another stream than before, or
        the same will happen again. If it does before the next save, that checkpoint may hold the
        cause, and the one before it is taken. Raises UserError the third time, or if none is left.
        """
        self._rolled_back += 1
        newest = checkpoint.listed(self._checkpoints)[:1]
        if newest == self._suspect:
            checkpoint.set_aside(newest)
            newest = checkpoint.listed(self._checkpoints)[:1]
        self._suspect = newest
        if self._rolled_back >= _PATIENCE or not newest:
            raise UserError(f"{self.folder}: {reason}; given up: try a lower learning rate")
        progress.warn(f"{reason}; going back to {newest[0].name}")
        step, state = self.restore() or (0, {})
        self.exact = False
        return step, state, self._rolled_back

    def restore(self) -> tuple[int, State] | None:
        """The newest good checkpoint as (step, state), with the record cut back to it; or None.

        Call it when all libraries are loaded, before the first `log`. Checkpoints that cannot be
        trusted are named and passed over. Raises UserError if all are such.
        """
        reach("resume.begin")
        checkpoint.sweep(self._checkpoints)
        reach("resume.swept")
        refused: list[Path] = []
        found = None
        for folder in checkpoint.listed(self._checkpoints):
            try:
                manifest = checkpoint.read_manifest(folder)
                if manifest.run != self.identity:
                    raise CheckpointError(folder, "it belongs to another run")
                found = manifest, marks.notes_of(folder, manifest.notes), checkpoint.load(folder)
                break
            except CheckpointError as error:
                progress.warn(f"checkpoint refused: {error}")
                refused.append(folder)
        reach("resume.loaded")
        if found is None and refused:
            line = f"no checkpoint of {self.folder} can be trusted: delete {self._checkpoints}"
            raise UserError(f"{line} to begin again", Exit.CHECKPOINT)
        checkpoint.set_aside(refused)
        manifest, notes, state = found or (Manifest(0), marks.Notes(), {})
        self._take_up(manifest, notes)
        reach("resume.cut")
        if not found:
            return None
        self._saved = (manifest.step, self._opened.sync())
        return manifest.step, state

    def _take_up(self, manifest: Manifest, notes: marks.Notes) -> None:
        self.step = manifest.step
        self._versions = versions.snapshot()
        changes = versions.changes(manifest.versions, self._versions)
        self.exact = notes.exact and not changes
        if changes:
            progress.warn(f"continuing, not bit-exact: {', '.join(changes)}")
        if manifest.step:
            progress.say(f"resuming at step {self.step:,}")
        marks.add_session(self.folder, self.step, changes, self._versions)
        self._opened.begin(self.step, self.steps, notes.metrics, notes.elapsed)

    @property
    def _opened(self) -> Record:
        assert self._record is not None, f"{self.folder} is closed: it was finished or left"
        return self._record

    def tick(self, step: int) -> None:
        """Move the progress bar."""
        self.step = step
        self._opened.tick(step)

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Write a row of numbers at env step `step`, in the record and on the screen."""
        self.step = step
        self._lock.keep()
        self._opened.log(step, row)

    def save(self, step: int, state: State) -> None:
        """Write a checkpoint and prune old ones; waits for space on a full disk, then gives up.

        Does nothing where this very point is saved already. Raises UserError if there is no space
        in the end; what was saved before is untouched.
        """
        self.step = step
        for wait in (*_WAITS, None):
            self._lock.keep()
            try:
                with self._stop.unhurried():
                    self._save(step, state)
                return
            except OSError as error:
                self._lock.keep()
                if not files.no_space(error):
                    raise files.unwritable(self.folder, error) from None
                if wait is None or self._stop.requested:
                    raise self._full(step, error) from None
                progress.warn(f"{self.folder}: {error.strerror}; trying again in {wait:.0f} s")
                checkpoint.prune(self._checkpoints, 1)
                until = time.monotonic() + wait
                while time.monotonic() < until and not self._stop.requested:
                    time.sleep(0.05)

    def _save(self, step: int, state: State) -> None:
        record = self._opened
        length = record.sync()
        if self._saved == (step, length):
            return
        notes = asdict(marks.Notes(length, record.elapsed, self.exact))
        manifest = Manifest(step, self.identity, self._versions, notes)
        checkpoint.save(self._checkpoints, state, manifest)
        self._saved = (step, length)
        checkpoint.prune(self._checkpoints, self._keep)
        self._set_status("running")

    def _full(self, step: int, error: OSError) -> UserError:
        saved = checkpoint.listed(self._checkpoints)
        safe = f"the run is safe at {saved[0].name}" if saved else "nothing was saved yet"
        line = f"{self.folder}: {error.strerror} while saving step {step:,}; {safe}: "
        return UserError(line + "make room and run the same command again", Exit.SETUP)

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write summary.json, mark the run as finished and show its numbers; return them all."""
        self._lock.keep()
        reach("finish.begin")
        record = self._opened
        seconds = record.elapsed
        whole: dict[str, Any] = {"stage": self.stage, "steps": self.step, "exact": self.exact}
        whole |= headline({**summary, **whole}, self.folder) | {"wall_s": round(seconds, 1)}
        whole |= {"steps_per_s": round(self.step / max(seconds, 1e-9), 1), **summary}
        try:
            record.sync()
            files.replace(self.folder / "summary.json", files.pretty(whole))
            reach("finish.summary")
            self._set_status("finished")
        except OSError as error:
            raise files.unwritable(self.folder, error) from None
        reach("finish.done")
        self.done = True
        record.quiet()
        progress.table(rows(whole))
        return whole

    def _set_status(self, state: str) -> None:
        marks.set_status(self.folder, marks.Status(state, self.step, self.steps))
