"""Try what strangers, accidents and slips do to the commands, and count what goes wrong.

    .venv/bin/python scripts/battery.py --kinds "links in a run folder" --members 12 --seed 3

Every kind of fault has the inputs that once showed it and a generator of further ones; which ones,
a seed decides. Each is tried in a folder of its own, beside files that nothing may touch and a
file that strangers' code would write. As it should be means: no traceback, no hang, nothing
changed outside, no code of strangers run, an exit code that the README names, one line that says
what is wrong, and nothing lost. Exit code 1 if anything was otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from battery import (  # noqa: E402
    folders,
    leave,
    machines,
    odd,
    own,
    parts,
    paths,
    saves,
    sealed,
    slips,
    strangers,
)
from battery.runs import Runs  # noqa: E402
from battery.starts import Starter  # noqa: E402
from battery.trial import Kind, Member, Verdict, attempt  # noqa: E402

KINDS: list[Kind] = [
    *strangers.KINDS,
    *leave.KINDS,
    *folders.KINDS,
    *saves.KINDS,
    *sealed.KINDS,
    *slips.KINDS,
    *machines.KINDS,
    *own.KINDS,
    *odd.KINDS,
    *parts.KINDS,
    *paths.KINDS,
]
COLUMNS = ("tries", "as it should be", "tracebacks", "hangs", "bytes outside", "code run", "other")


class Battery:
    """Tries members side by side, each thread with a process of its own that forks."""

    def __init__(self, jobs: int, fresh: bool) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="battery-"))
        self._runs = Runs(self._place)
        self._own = threading.local()
        self._starters: list[Starter] = []
        self._fresh = fresh
        self._pool = ThreadPoolExecutor(jobs)

    def try_all(self, kind: Kind, members: list[Member]) -> list[Verdict]:
        """The verdicts on some members of a kind."""
        return list(self._pool.map(lambda member: self._try(kind, member), members))

    def _try(self, kind: Kind, member: Member) -> Verdict:
        if not hasattr(self._own, "starter"):
            self._own.starter = Starter(self._fresh)
            self._starters.append(self._own.starter)
        place = Path(tempfile.mkdtemp(prefix="try-", dir=self._place))
        began = time.monotonic()
        try:
            verdict = attempt(member, place / "t", self._runs, self._own.starter)
        except Exception as error:  # a member that cannot be tried is not as it should be
            verdict = Verdict(other=[f"the battery itself: {type(error).__name__}: {error}"])
        shutil.rmtree(place, ignore_errors=True)
        if not verdict.good:
            took = time.monotonic() - began
            lines = [f"{k}: {text}" for k, texts in vars(verdict).items() for text in texts]
            told = "\n    ".join([f"{kind.name}: {member.name} ({took:.0f} s)", *lines])
            print(told, file=sys.stderr, flush=True)
        return verdict

    def close(self) -> None:
        """End all processes and delete all folders."""
        self._pool.shutdown()
        for starter in self._starters:
            starter.close()
        self._runs.close()
        shutil.rmtree(self._place, ignore_errors=True)


def counts(verdicts: list[Verdict]) -> dict[str, int]:
    """One row of the table; a try counts once in every column where something was wrong."""
    wrong = [sum(bool(vars(v)[key]) for v in verdicts) for key in vars(Verdict())]
    return dict(zip(COLUMNS, [len(verdicts), sum(v.good for v in verdicts), *wrong], strict=True))


def row(name: str, values: dict[str, int]) -> str:
    """A line of the table."""
    cells = [f"{values[column]:>{len(column) + 2}}" for column in COLUMNS]
    return f"{name:<52}{''.join(cells)}"


def main() -> int:
    """Run the battery; 0 if everything was as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="a kind or words of its name")
    parser.add_argument("--list", action="store_true", help="show the kinds, or their members")
    parser.add_argument("--members", type=int, default=12, help="further ones of each kind")
    parser.add_argument("--only", metavar="TEXT", default="", help="members with this in the name")
    parser.add_argument("--seed", type=int, help="decides which (default: drawn and printed)")
    parser.add_argument("--jobs", type=int, default=2, help="tries side by side")
    parser.add_argument("--fresh", action="store_true", help="new processes instead of forks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write counts and findings here")
    flags = parser.parse_args()
    seed = secrets.randbelow(2**31) if flags.seed is None else flags.seed
    wanted = [k for k in KINDS if not flags.kinds or any(w in k.name for w in flags.kinds)]
    if not wanted:
        parser.error(f"no such kind; there are: {', '.join(k.name for k in KINDS)}")
    if flags.list:
        for kind in wanted:
            print(kind.name)
            for member in kind.members(seed, flags.members) if flags.kinds else ():
                print(f"    {member.name}")
        return 0
    print(f"seed {seed}", flush=True)
    print(f"{'kind':<52}{''.join(f'  {c}' for c in COLUMNS)}{'  seconds':>9}", flush=True)
    battery = Battery(flags.jobs, flags.fresh)
    report: dict[str, Any] = {"seed": seed, "members": flags.members, "kinds": {}}
    everything: list[Verdict] = []
    try:
        for kind in wanted:
            began = time.monotonic()
            members = [m for m in kind.members(seed, flags.members) if flags.only in m.name]
            verdicts = battery.try_all(kind, members)
            everything += verdicts
            seconds = round(time.monotonic() - began)
            print(f"{row(kind.name, counts(verdicts))}{seconds:>9}", flush=True)
            found = {m.name: vars(v) for m, v in zip(members, verdicts, strict=True) if not v.good}
            report["kinds"][kind.name] = {**counts(verdicts), "seconds": seconds, "wrong": found}
    finally:
        battery.close()
    print(row("all", counts(everything)), flush=True)
    report["all"] = counts(everything)
    if flags.json is not None:
        flags.json.write_text(json.dumps(report, indent=1) + "\n")
    return int(not all(v.good for v in everything))


if __name__ == "__main__":
    sys.exit(main())
