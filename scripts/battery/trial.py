"""One try: a folder of its own, commands started in it, and what was wrong with how it went."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from battery.runs import Runs
from battery.starts import ROOT, Ended, Starter

CODES = (0, 2, 3, 4, 5, 75, 130)
"""Exit codes that the README names, and that of a command stopped by Ctrl-C."""
LIMIT = 180.0  # seconds: the machine may be busy
LINES = 4  # of a refusal
WIDTH = 2000  # letters of a refusal
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_COLOUR = re.compile(r"\x1b\[3\dm(WARN|ERROR)[^\x1b]*\x1b\[0m")  # Gymnasium's own warnings
_RAN = "The Zen of Python"  # what the module `this` prints when it is imported


@dataclass
class Verdict:
    """What was wrong with a try; all empty if it is as it should be."""

    tracebacks: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    code_run: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not any(vars(self).values())


@dataclass(frozen=True)
class Member:
    """One of a kind: its `name` says all that it is made of, `play` tries it."""

    name: str
    play: Callable[[Try], None]


@dataclass(frozen=True)
class Kind:
    """A kind of fault: inputs that once showed it, and a generator of more like them."""

    name: str
    exact: Sequence[Member]
    draw: Callable[[random.Random], Member]

    def members(self, seed: int, further: int) -> list[Member]:
        """The exact members and `further` others, all different, the same for the same seed."""
        rng = random.Random(f"{seed}/{self.name}")
        found = {member.name: member for member in self.exact}
        for _ in range(100 * further):
            if len(found) == len(self.exact) + further:
                break
            member = self.draw(rng)
            found.setdefault(member.name, member)
        return list(found.values())


def snapshot(place: Path) -> dict[str, tuple[object, ...]]:
    """What lies at `place` and below: kind, size, time of change and content of everything."""
    paths: Iterable[Path] = [place, *place.rglob("*")] if place.is_dir() else [place]
    found: dict[str, tuple[object, ...]] = {}
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            kind, content = stat.S_IFMT(status.st_mode), ""
            if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            time = 0 if stat.S_ISCHR(status.st_mode) else status.st_mtime_ns
            found[str(path)] = (kind, size, time, content)
    return found


def judge(
    ends: Iterable[Ended],
    before: Mapping[str, tuple[object, ...]] = {},  # noqa: B006
    after: Mapping[str, tuple[object, ...]] = {},  # noqa: B006
    canaries: Iterable[Path] = (),
    wrong: Iterable[str] = (),
    leave: bool = False,
) -> Verdict:
    """What was wrong with commands that ended, with what they left, and what was found wrong.

    `leave`: code of somebody else's was allowed to run.
    """
    verdict = Verdict(other=list(wrong))
    for end in ends:
        told = " ".join(end.words)[:300]
        if "Traceback (most recent call last)" in end.said:
            lines = [x for x in end.said.splitlines() if x[:1].strip() and "Traceback" not in x]
            verdict.tracebacks.append(f"{told}: {' | '.join(lines[-2:])[:300]}")
        if end.hung:
            verdict.hangs.append(f"{told}: killed after {end.seconds:.0f} s")
        elif end.code not in CODES:
            tail = " | ".join(end.said.splitlines()[-3:])[:300]
            verdict.other.append(f"{told}: exit code {end.code} is none of ours: {tail}")
        if _RAN in end.said and not leave:
            verdict.code_run.append(f"{told}: the module `this` was imported")
        if _CONTROL.search(_COLOUR.sub("", end.said)):
            verdict.other.append(f"{told}: a control character on the screen")
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            what = "gone" if path not in after else "changed" if path in before else "new"
            verdict.outside.append(f"{path}: {what}")
    if not leave:
        verdict.code_run += [f"{p.name} was written" for p in canaries if os.path.lexists(p)]
    return verdict


class Try:
    """A folder with `work`, where commands are started, and `outside`, which nothing may touch."""

    def __init__(self, place: Path, runs: Runs, starter: Starter) -> None:
        self.place = place
        self.work, self.outside = place / "work", place / "outside"
        self.canary = place / "CANARY"
        self.leave = False  # whether strangers' code may run
        self.ends: list[Ended] = []
        self._runs, self._starter = runs, starter
        self._wrong: list[str] = []
        self._guarded = [self.outside]
        self._before: dict[str, tuple[object, ...]] = {}
        for folder in ("work", "outside", "home", "state", "tmp"):
            (place / folder).mkdir(parents=True)
        (self.outside / "notes.txt").write_text("precious\n")
        for name in (".tmp-mine", "step-000000001", "step-000000009"):
            (self.outside / "folder" / name).mkdir(parents=True)
            (self.outside / "folder" / name / "notes.txt").write_text("precious\n")
        (self.outside / "folder" / "map.png").write_bytes(b"precious")

    @property
    def evil(self) -> str:
        """Python that leaves a trace when it runs."""
        return f"open({str(self.canary)!r}, 'a').write('ran')\n"

    def take(self, name: str, to: str = "") -> Path:
        """A copy of one of the finished runs, in `work`, with what it was made from."""
        return self._runs.copy(name, self.work, to)

    def write(self, name: str, data: str | bytes) -> Path:
        """A file below `work`."""
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def guard(self, *paths: Path) -> None:
        """Nothing may change these either; call it before the first command."""
        self._guarded += paths

    def start(
        self,
        *words: str | Path,
        env: Mapping[str, str | None] | None = None,
        limit: float = LIMIT,
        fresh: bool = False,
        cwd: Path | None = None,
        limits: Mapping[str, int] | None = None,
        meanwhile: Callable[[int], None] | None = None,
    ) -> Ended:
        """Run one of our commands, or `sh LINE`; how it ended."""
        if not self.ends:
            self._before = self._seen()
        variables = self._runs.environment(self.place) | dict(env or {})
        end = self._starter.run(
            tuple(map(str, words)),
            cwd=cwd or self.work,
            env={k: v for k, v in variables.items() if v is not None},
            limit=limit,
            fresh=fresh,
            limits=limits,
            meanwhile=meanwhile,
        )
        self.ends.append(end)
        return end

    def wrong(self, text: str) -> None:
        """Note something that is not as it should be."""
        self._wrong.append(text)

    def refused(self, end: Ended, codes: Sequence[int] = (2, 3, 4, 5), says: str = "") -> None:
        """It must have ended with one line of error that matches `says`, and one of the codes."""
        told, lines = " ".join(end.words)[:200], [x for x in end.err.splitlines() if x.strip()]
        errors = [x for x in lines if re.match(r"(error|[\w-]+: error):", x)]
        if end.hung:
            return
        if end.code not in codes:
            tail = " | ".join(end.said.splitlines()[-2:])[:300]
            self.wrong(f"{told}: code {end.code}, want {list(codes)}: {tail}")
        elif len(errors) != 1 or len(lines) > LINES + 4 * ("usage:" in end.err):
            self.wrong(f"{told}: want one line, not {len(lines)}: {' | '.join(lines)[:300]}")
        elif len(errors[0]) > WIDTH:
            self.wrong(f"{told}: a line of {len(errors[0])} letters: {errors[0][:100]}")
        elif says and not re.search(says, errors[0], re.I):
            self.wrong(f"{told}: it does not say {says!r}: {errors[0][:300]}")

    def worked(self, end: Ended, says: str = "") -> None:
        """It must have ended with 0 and said something that matches `says`."""
        told, tail = " ".join(end.words)[:200], " | ".join(end.said.splitlines()[-2:])[:300]
        if end.hung:
            return
        if end.code != 0:
            self.wrong(f"{told}: code {end.code}, want 0: {tail}")
        elif says and not re.search(says, end.said, re.I):
            self.wrong(f"{told}: it does not say {says!r}: {tail}")

    def either(self, end: Ended, codes: Sequence[int] = (2, 3, 4, 5), says: str = "") -> None:
        """It may work, or be refused in one line."""
        if end.code != 0:
            self.refused(end, codes, says)

    def verdict(self) -> Verdict:
        """What was wrong, all in all."""
        canaries = [self.canary, *self.place.rglob("PWNED*")]
        after = self._seen() if self.ends else {}
        return judge(self.ends, self._before, after, canaries, self._wrong, self.leave)

    def _seen(self) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        for path in self._guarded:
            found |= snapshot(path)
        own = {"work", "outside", "state", "tmp", "home", "CANARY"}
        strange = [p for p in self.place.iterdir() if p.name not in own]
        return found | {str(p): ("beside the try",) for p in strange if "log-" not in p.name}


def attempt(member: Member, place: Path, runs: Runs, starter: Starter) -> Verdict:
    """Try one member in a new folder, which is deleted afterwards."""
    trial = Try(place, runs, starter)
    try:
        member.play(trial)
        return trial.verdict()
    finally:
        shutil.rmtree(place, ignore_errors=True)


__all__ = ["CODES", "ROOT", "Ended", "Kind", "Member", "Try", "Verdict", "attempt", "judge"]
