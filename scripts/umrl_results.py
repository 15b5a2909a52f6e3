"""Unsupervised meta-RL against its controls, on held-out tasks: Gupta et al. 2018, run again.

    .venv/bin/python scripts/umrl_results.py                    # all worlds
    .venv/bin/python scripts/umrl_results.py point --seeds 0    # one world, one seed
    .venv/bin/python scripts/umrl_results.py point --table      # only show what was found

Each run is the plain command `metatrain ...` with one thread, in
`runs/results/umrl-<world>/<method>/<seed>`, on the proposals of the pretrain run of the same seed;
a run that was stopped goes on, a finished one is not repeated. Then every learner adapts to
held-out tasks of hand-made families: at the rates (of the first step and of later ones) that served
it best on validation tasks, other tasks than those of the test, and at one rate for all. A learner
with a memory has no rate; its steps are the episodes it has seen, one at a time, where a gradient
step takes a whole batch of them. Scratch is policy gradient from an untrained start. The returns of
every task, seed and step go to docs/results/umrl-<world>.json, the curves to a .png beside it. The
world carml has no proposals: there CARML stands against fixed random tasks.

What the tables' intervals are of is said in scripts/umrl_table.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from result_runs import RAW, RUNS, SEEDS, commit, run  # noqa: E402
from umrl_table import curves, table  # noqa: E402
from umrl_worlds import UNTRAINED, WORLDS, World, methods_of  # noqa: E402

from logbook.build import build, trait  # noqa: E402
from logbook.compose import compose  # noqa: E402
from logbook.config import CONFIGS, node_of, read_yaml  # noqa: E402
from logbook.curve_picture import draw  # noqa: E402
from logbook.seeds import seed_for  # noqa: E402
from meta.assess import run_config  # noqa: E402
from meta.evaluate import FamilyFactory, held_out, score  # noqa: E402
from meta.gradient import GradientLearner  # noqa: E402
from meta.stage import restore  # noqa: E402
from meta.trial import MetaLearner, live  # noqa: E402
from rl.matmul import choose_matmul  # noqa: E402

Numbers = dict[str, Any]


def main() -> None:
    """Train what is missing, test, show."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("worlds", nargs="*", metavar="WORLD", help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--side-by-side", type=int, default=2, help="runs at a time")
    parser.add_argument("--methods", nargs="+", help="only these, beside what was found before")
    parser.add_argument("--table", action="store_true", help="run nothing")
    flags = parser.parse_args()
    unknown = [world for world in flags.worlds if world not in WORLDS]
    if unknown:
        parser.error(f"no world {unknown[0]!r}; there are {', '.join(WORLDS)}")
    for name in flags.worlds or list(WORLDS):
        strange = set(flags.methods or ()) - set(methods_of(WORLDS[name]))
        if strange:
            known = ", ".join(methods_of(WORLDS[name]))
            parser.error(f"{name} has no method {min(strange)!r}; it has {known}")
        place = RAW / f"umrl-{name}.json"
        before: Numbers = {}
        if flags.methods and place.exists() and not flags.table:
            before = json.loads(place.read_text())
            if before["seeds"] != flags.seeds:
                seeds = " ".join(map(str, before["seeds"]))
                parser.error(f"the other methods of {name} have --seeds {seeds}: give these")
            for what, now in protocol(WORLDS[name], flags.methods).items():
                was = before.get(what)
                if what == "commands":
                    was = {m: was.get(m) for m in now}
                if was != now:
                    parser.error(f"{name} had other {what} when the other methods were run")
        if not flags.table:
            with ThreadPoolExecutor(flags.side_by_side) as pool:
                codes = list(pool.map(lambda s, n=name: prepare(n, s), flags.seeds))
                if not any(codes):
                    jobs = [(m, s) for s in flags.seeds for m in asked(name, flags.methods)]
                    codes = list(pool.map(lambda job, n=name: train(n, *job), jobs))
            if any(codes):
                sys.exit(max(codes))
            RAW.mkdir(parents=True, exist_ok=True)
            found = test(name, flags.seeds, flags.side_by_side, asked(name, flags.methods))
            if before:
                found = beside(before, found)
            place.write_text(json.dumps(found) + "\n")
        found = json.loads(place.read_text())
        sys.stdout.write(table(name, found, WORLDS[name].shared))
        draw(place.with_suffix(".png"), curves(name, found), across=1)


def folder_of(world: str, method: str, seed: int) -> Path:
    """Where a learner's run is."""
    short = "".join(c for c in method.replace(" ", "_") if c not in "(),=")
    return RUNS / f"umrl-{world}" / short / str(seed)


def prepare(name: str, seed: int) -> int:
    """The pretrain run of a seed."""
    world = WORLDS[name]
    if not world.source:
        return 0
    folder = RUNS / world.source / str(seed)
    return once("pretrain", [*world.pretrain.split(), "env.threads=1", f"seed={seed}"], folder)


def train(name: str, method: str, seed: int) -> int:
    """A learner's run."""
    words = [*typed(WORLDS[name], method).format(seed=seed).split(), f"seed={seed}"]
    words += ["evaluate.tasks=4", "evaluate.baselines=false"]
    return once("meta", words, folder_of(name, method, seed))


def typed(world: World, method: str) -> str:
    """What is typed after `metatrain` for a method; {seed} is the run's own."""
    words = f"{methods_of(world)[method]} {world.words}"
    if "oracle" in method or not world.source:
        return words
    source = world.others.get(method, ("", ""))[1] or f"{world.source}/{{seed}}"
    return f"{words} from=runs/results/{source}"


def protocol(world: World, but: list[str]) -> Numbers:
    """What the methods beside those of `but` must have been run with, as JSON has it."""
    kept = {m: f"metatrain {typed(world, m)}" for m in methods_of(world) if m not in but}
    rates = {"rates": list(world.rates), "laters": list(world.laters)}
    return {"commands": kept, "width": world.width, **rates}


def once(module: str, words: list[str], folder: Path) -> int:
    """A command whose run is left as it is once it is finished."""
    return 0 if (folder / "summary.json").exists() else run(module, words, folder)


def asked(name: str, methods: list[str] | None) -> list[str]:
    """The methods to train, in their order; all that there are if none are named."""
    return [m for m in methods_of(WORLDS[name]) if not methods or m in methods]


def beside(before: Numbers, new: Numbers) -> Numbers:
    """What was found before, with new methods put in."""
    families = {f: kept | new["families"][f] for f, kept in before["families"].items()}
    return {**new, "families": families}


def test(name: str, seeds: list[int], workers: int, methods: list[str]) -> Numbers:
    """These learners and, where all are asked for, the untrained one on held-out tasks."""
    world = WORLDS[name]
    found: Numbers = {
        "commands": {m: f"metatrain {typed(world, m)}" for m in methods_of(world)},
        "pretrain": f"pretrain {world.pretrain}" if world.source else None,
        "seeds": seeds,
        "tested at": commit(),
        "tested on": world.families,
        "width": world.width,  # episodes a step of the test
        "rates": world.rates,
        "laters": world.laters,
        "families": {},
    }
    rivals = [*methods, UNTRAINED] if methods == list(methods_of(world)) else methods
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=alone) as pool:
        jobs = {
            (family, method, seed): pool.submit(one, name, method, family, seed)
            for family in world.families
            for method in rivals
            for seed in seeds
            if "oracle" not in method or family in method
        }
        for (family, method, _), job in jobs.items():
            by_method = found["families"].setdefault(family, {})
            by_method.setdefault("oracle" if "(" in method else method, []).append(job.result())
    return found


def alone() -> None:
    """One thread for a process that has others beside it."""
    torch.set_num_threads(1)
    choose_matmul()


def family_of(name: str, changed: dict[str, Any]) -> FamilyFactory:
    """Builds a family of configs/tasks."""
    node = read_yaml(CONFIGS / "tasks" / f"{name}.yaml") | changed

    def make(num_envs: int, seed: int) -> Any:
        return build("tasks", node, num_envs=num_envs, seed=seed)

    return make


def one(name: str, method: str, family: str, seed: int) -> Numbers:
    """One learner: its validation by rate, and the returns [steps + 1, tasks] of its test."""
    world = WORLDS[name]
    make = family_of(family, world.families[family])
    learner, wall = learner_for(name, method, make, seed)
    if world.width is not None:
        learner.width = world.width
    tried = held_out(make, world.validation, seed_for(seed, "validation"))
    tasks = held_out(make, world.tasks, seed_for(seed, "test"))
    few = min(3, world.steps)

    def returns(rate: tuple[float, float] | None, some: Any, steps: int, stream: str) -> Any:
        if rate is not None:
            assert isinstance(learner, GradientLearner)
            learner.settings = replace(learner.settings, inner_lr=rate[0], later=rate[1])
        chance = seed_for(seed, stream)
        learner.reseed(chance)
        return score(make, learner, some, horizon=steps + 1, seed=chance).returns

    by_gradient = isinstance(learner, GradientLearner)
    rates = [(r, later) for r in world.rates for later in world.laters] if by_gradient else []
    validation = [float(returns(r, tried, few, "validation")[1:].mean()) for r in rates]
    best = rates[int(np.argmax(validation))] if rates else None
    found: Numbers = {"seed": seed, "wall_s": wall, "rate": best, "tasks": tasks.tolist()}
    if method != UNTRAINED:
        folder = folder_of(name, method, seed)
        found["commit"] = (folder / "commit").read_text()
        found |= entropies(folder)
    found["validation"] = [[*r, v] for r, v in zip(rates, validation, strict=True)]
    found["returns"] = np.round(returns(best, tasks, world.steps, "test"), 3).tolist()
    same = (world.shared, world.laters[-1])
    shared = returns(same, tasks, few, "test") if rates else found["returns"][: few + 1]
    found["returns_at_shared_rate"] = np.round(shared, 3).tolist()
    after = " / ".join(f"{x:.1f}" for x in np.mean(found["returns"], 1)[:4])
    edge = best is not None and best[0] in (min(world.rates), max(world.rates))
    rate = f"rate {best}{', at the edge of those tried' if edge else ''}"
    print(f"{name}, {family}, {method}, seed {seed}: {rate}: {after}", flush=True)
    return found


def entropies(folder: Path) -> Numbers:
    """Step and entropy of the tasks, in nats, of a run whose tasks follow the learner."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    key = "tasks/entropy"
    told = [[row["step"], round(row[key], 3)] for row in rows if row.get(key) is not None]
    return {"entropy": told} if told else {}


def learner_for(
    name: str, method: str, make: FamilyFactory, seed: int
) -> tuple[MetaLearner, float]:
    """The trained learner with its seconds; scratch, which has none."""
    if method == UNTRAINED:
        return untrained(name, make, seed), 0.0
    folder = folder_of(name, method, seed)
    took = json.loads((folder / "summary.json").read_text())["wall_s"]
    return restore(folder, run_config(folder))[0], took


def untrained(name: str, make: FamilyFactory, seed: int) -> MetaLearner:
    """A start that knows no more than, where observations are scaled, their scale."""
    one, node = make(1, 0), node_of("learner", "scratch")
    if all(trait("tasks", f, "body", False) for f in WORLDS[name].families):
        node |= compose("metatrain", ["learner=scratch", "tasks=cheetah_direction"]).config[
            "learner"
        ]
    said = (w.removeprefix("learner.").split("=") for w in WORLDS[name].words.split())
    node |= {key: yaml.safe_load(value) for key, value in said if key in node}
    settings: dict[str, Any] = {"world": one.spec, "task_dim": one.task_dim, "burn_in": None}
    settings |= {"horizon": None, "device": torch.device("cpu"), "seed": seed}
    learner: MetaLearner = build("learner", node, **settings)
    tasks = one.sample(learner.meta_batch, np.random.default_rng(seed), held_out=False)
    worlds = make(learner.meta_batch * learner.width, seed)
    learner.update(live(worlds, learner, tasks, horizon=1, explore=True))
    return learner


if __name__ == "__main__":
    main()
