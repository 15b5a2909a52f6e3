"""Kill small trainings with SIGKILL, again and again, and see that they end as if nothing happened.

    .venv/bin/python scripts/kill_battery.py --kills 20 --env cheetah ant --agent sac ppo

For every env and agent: one uninterrupted run; then runs killed at random moments; then one run for
every named point of a save, a prune, a resume and the record (logbook/killpoints.py), killed there;
then runs killed as whole commands and taken up by `resume`. Each is started again until it is done,
and its last checkpoint (networks, optimisers, replay, worlds, generators, counters), its metrics
but for the clock, and the numbers of its summary must equal the uninterrupted run's.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from logbook import checkpoint, files, killpoints, metrics, progress, versions  # noqa: E402
from logbook.build import lookup  # noqa: E402
from logbook.cli import perform  # noqa: E402
from logbook.compose import Job, compose  # noqa: E402
from logbook.errors import UserError  # noqa: E402
from logbook.identity import flat  # noqa: E402
from logbook.seeds import seed_for  # noqa: E402

SMALL = (
    "num_envs=8 log_every=200 evaluate.reps=1 evaluate.steps=20 atlas.early=0 "
    "atlas.videos=false skill.num_skills=4 episode_steps=60 "
    "env.max_episode_steps=60 skill_steps=25 agent.hidden=[32,32]"
).split()
AGENTS = {
    "sac": "agent.start_steps=200 agent.updates=1 agent.batch_size=64".split(),
    "ppo": "agent.horizon=16 agent.minibatches=2 agent.epochs=2".split(),
}
CLOCK = ("wall_s", "steps_per_s", "time/time_elapsed", "time/fps")
TRIES = 20  # starts after which a run that never ends is given up


@dataclass
class Case:
    """What happened to one env and agent."""

    env: str
    agent: str
    kills: int = 0
    in_a_save: int = 0  # kills that left a half-written checkpoint
    points: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # points that were never reached
    fresh: int = 0  # runs as whole commands
    runs: int = 0
    identical: int = 0
    differing: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Battery:
    """Runs of one small training, in processes that are killed."""

    def __init__(self, case: Case, job: Job, place: Path, rng: random.Random) -> None:
        self.case, self.job, self.place, self.rng = case, job, place, rng
        self.whole: dict[str, Any] = {}
        self.length = 0.0

    def uninterrupted(self) -> None:
        """The run that all others must equal."""
        began = time.monotonic()
        folder = self.place / "whole"
        if self._start(folder) != 0:
            raise SystemExit(f"the uninterrupted run failed: see {folder}.log")
        self.length = time.monotonic() - began
        self.whole = outcome(folder)

    def at_random(self, kills: int) -> None:
        """Until `kills` kills have struck, each run being killed up to four times."""
        struck, run = 0, 0
        while struck < kills:
            run += 1
            folder = self.place / f"random-{run}"
            left = min(4, kills - struck)
            for _ in range(TRIES):
                after = self.rng.uniform(0.02, 1.0) * self.length if left else None
                code = self._start(folder, after=after)
                if code == 0:
                    break
                left, struck = left - 1, struck + 1
                self._count(folder)
            self._end(folder)

    def at_point(self, name: str, count: int) -> None:
        """One run killed at the `count`-th time that it reaches a named point."""
        folder = self.place / f"{name}-{count}"
        if name.startswith("resume."):  # first there must be something to resume
            self._start(folder, point="save.done", count=4)
            self._count(folder)
        label = f"{name}:{count}"
        if self._start(folder, point=name, count=count) == 0:
            self.case.missed.append(label)
        else:
            self.case.points.append(label)
            self._count(folder)
            self._start(folder)
        self._end(folder)

    def as_commands(self, runs: int) -> None:
        """Whole processes with nothing in common: the command, SIGKILL, then `resume`."""
        for run in range(runs):
            folder = self.place / f"fresh-{run}"
            texts = [*self.job.overrides, f"hydra.run.dir={folder}"]
            command = [sys.executable, "-m", "pretrain", *texts]
            with Path(f"{folder}.log").open("wb") as log:
                kill_at = {"AUTOTELIC_KILL_AT": f"save.manifest:{self.rng.randint(3, 6)}"}
                environment = os.environ | kill_at
                subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
                self._count(folder)
                command = [sys.executable, "-m", "pretrain.resume", str(folder)]
                subprocess.run(command, cwd=ROOT, stdout=log, stderr=log)
            self.case.fresh += 1
            self._end(folder)

    def _start(
        self, folder: Path, point: str = "", count: int = 1, after: float | None = None
    ) -> int:
        """Run the command in a child until its end or its death; its exit code."""
        pid = os.fork()
        if pid == 0:
            log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            killpoints._NAME, killpoints._COUNT = point, str(count)
            os._exit(perform(_stage(), self.job.config, folder, self.job.overrides))
        deadline = time.monotonic() + (after if after is not None else 600.0)
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            time.sleep(0.002)

    def _count(self, folder: Path) -> None:
        """Note a kill; every checkpoint that looks like one must be one."""
        self.case.kills += 1
        parent = folder / "checkpoints"
        self.case.in_a_save += any(parent.glob(f"{files.TEMPORARY}step-*"))
        for kept in checkpoint.listed(parent):
            try:
                checkpoint.verify(kept)
            except UserError as error:
                self.case.differing.append(str(error))

    def _end(self, folder: Path) -> None:
        """Compare a run that should be done with the uninterrupted one."""
        self.case.runs += 1
        try:
            found = outcome(folder)
        except (OSError, UserError, ValueError) as error:
            self.case.differing.append(f"{folder.name}: {error}")
            return
        unlike = [key for key in self.whole if found.get(key) != self.whole[key]]
        if unlike:
            self.case.differing.append(f"{folder.name}: {', '.join(unlike)}")
        else:
            self.case.identical += 1
            shutil.rmtree(folder)


def _stage() -> Any:
    from pretrain.__main__ import _pretrain

    return _pretrain


def outcome(folder: Path) -> dict[str, Any]:
    """What a run came to: the digest of each file of its last checkpoint, its rows, its numbers."""
    newest, skipped = checkpoint.newest(folder / "checkpoints")
    if newest is None or skipped:
        raise ValueError(f"no good last checkpoint {skipped}")
    manifest = checkpoint.read_manifest(newest)
    rows = [_timeless(row) for row in metrics.rows(folder / "metrics.jsonl")]
    summary = _timeless(files.read_json(folder / "summary.json"))
    summary.pop("next", None)  # it names the folder
    if not summary:
        raise ValueError("no summary.json")
    digests = {name: sha for name, (_, sha) in manifest.files.items()}
    return digests | {"step": manifest.step, "metrics": rows, "summary": summary}


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in CLOCK}


def _case(env: str, agent: str, flags: argparse.Namespace, place: Path) -> Case:
    began = time.monotonic()
    case = Case(env, agent)
    texts = [f"env={env}", f"agent={agent}", f"skill={flags.skill}", f"seed={flags.seed}"]
    texts += [f"steps={flags.steps}", f"checkpoint_every={flags.steps // 6}", "device=cpu"]
    known = flat(compose("pretrain", texts).config)
    smaller = [o for o in [*SMALL, *AGENTS.get(agent, [])] if o.partition("=")[0] in known]
    job = compose("pretrain", [*texts, *smaller, *flags.override])
    rng = random.Random(seed_for(flags.seed, f"{env}/{agent}"))
    battery = Battery(case, job, place / f"{env}-{agent}", rng)
    battery.place.mkdir(parents=True)
    battery.uninterrupted()
    battery.at_random(flags.kills)
    for name in flags.points:
        # A probe at the start passes the points of a save once; counts from 2 are real saves.
        for count in [1] if name.startswith(("create", "resume", "finish")) else flags.counts:
            battery.at_point(name, count)
    battery.as_commands(flags.fresh)
    case.seconds = round(time.monotonic() - began, 1)
    return case


def main() -> int:
    """Run the battery; 0 if every run ended the same."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="at random moments, each case")
    parser.add_argument("--env", nargs="+", default=["cheetah", "ant"])
    parser.add_argument("--agent", nargs="+", default=["sac", "ppo"])
    parser.add_argument("--skill", default="diayn")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", nargs="*", default=list(killpoints.POINTS))
    parser.add_argument("--counts", nargs="+", type=int, default=[2, 4], help="which time there")
    parser.add_argument("--fresh", type=int, default=1, help="runs as whole commands, each case")
    parser.add_argument("--override", nargs="*", default=[], help="further KEY=VALUE of the runs")
    parser.add_argument("--out", type=Path, help="where to write the table as JSON")
    flags = parser.parse_args()
    code = versions.code()
    place = Path(tempfile.mkdtemp(prefix="kill-battery-"))
    _preload(flags.env)
    cases = []
    progress.say(f"{'env':<12}{'agent':<7}{'runs':>5}{'kills':>7}{'in a save':>11}{'points':>8}"
                 f"{'identical':>11}{'seconds':>9}")  # fmt: skip
    for env in flags.env:
        for agent in flags.agent:
            case = _case(env, agent, flags, place)
            cases.append(case)
            progress.say(f"{env:<12}{agent:<7}{case.runs:>5}{case.kills:>7}{case.in_a_save:>11}"
                         f"{len(case.points):>8}{case.identical:>11}{case.seconds:>9}")  # fmt: skip
            for line in [*case.differing, *(f"never reached: {p}" for p in case.missed)]:
                progress.say(f"  {line}")
    if versions.code() != code:
        progress.warn("the code changed meanwhile: runs as whole commands may differ for that")
    good = all(case.identical == case.runs and not case.missed for case in cases)
    if flags.out:
        command = " ".join(["scripts/kill_battery.py", *sys.argv[1:]])
        report = {"command": command, "commit": _commit(), "versions": versions.snapshot()}
        flags.out.write_bytes(files.pretty(report | {"cases": [asdict(case) for case in cases]}))
    if good:
        shutil.rmtree(place)
    else:
        progress.say(f"what differs is kept in {place}")
    return 0 if good else 1


def _preload(envs: list[str]) -> None:
    """Import what the children need, once: they are forks. Nothing is computed here."""
    for name in ("pretrain.stage", "matplotlib.figure", "torch._dynamo"):  # the last: optimisers
        importlib.import_module(name)
    for env in envs:
        lookup("env", compose("pretrain", [f"env={env}"]).config["env"]["name"])


def _commit() -> str:
    asked = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:  # a machine without git
        return ""


if __name__ == "__main__":
    sys.exit(main())
