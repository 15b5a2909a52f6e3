"""What finished runs came to: found on disk, named by method and task, read by dotted keys."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logbook import files, marks, origin, progress
from logbook.build import ROOT, nearest
from logbook.config import read_yaml
from logbook.errors import UserError
from logbook.identity import flat

STAGES: dict[str, tuple[str, str]] = {
    "pretrain": ("skill", "env"),
    "metatrain": ("learner", "tasks"),
    "finetune": ("strategy", "task"),
}
"""Of each stage, the node of the config that is the method, and the one that is the task."""

METRICS: dict[str, tuple[str, ...]] = {
    "pretrain": ("coverage.cells", "skills.effective", "native_return.max"),
    "metatrain": ("meta.returns_by_shot.-1", "meta.returns_total"),
    "finetune": ("finetune.final.mean", "finetune.area"),
}
"""What is compared if nothing is asked for, of each stage: those that every run has."""

_SAME_METHOD = "seed name device from log_every checkpoint_every threads atlas videos".split()


@dataclass(frozen=True)
class Outcome:
    """A finished run, or what `evaluate --json` wrote of one on another family."""

    folder: Path
    stage: str
    method: str
    task: str
    seed: int
    config: Mapping[str, Any]  # flat: dotted keys
    summary: Mapping[str, Any]
    source: str = ""  # the method of the run that it was made from

    def score(self, metric: str) -> float | None:
        """The number at a dotted key of summary.json; -1 is the last entry of a list."""
        value: Any = self.summary
        for word in metric.split("."):
            if isinstance(value, Mapping):
                value = value.get(word)
            elif isinstance(value, list) and word.lstrip("-").isdecimal():
                at = int(word)
                value = value[at] if -len(value) <= at < len(value) else None
            else:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) else None

    def curve(self) -> list[tuple[float, float]]:
        """(env steps or episodes of a task, return), if the run has such a curve."""
        points = _points(_at(self.summary, "finetune", "curve"))
        if points:
            return points
        shots = _at(self.summary, "meta", "returns_by_shot")
        return _points(list(map(list, enumerate(shots, 1)))) if isinstance(shots, list) else []


def _points(curve: Any) -> list[tuple[float, float]]:
    """The first two numbers of each row of a curve; none where it is no such thing."""
    rows = curve if isinstance(curve, list) else []
    plain = all(
        isinstance(row, list) and len(row) > 1 and {type(row[0]), type(row[1])} <= {int, float}
        for row in rows
    )
    return [(float(row[0]), float(row[1])) for row in rows] if plain else []


def _at(node: Any, *words: str) -> Any:
    for word in words:
        node = node.get(word) if isinstance(node, Mapping) else None
    return node


def gather(
    places: Sequence[Path], stage: str | None = None, *, finished: bool = False
) -> list[Outcome]:
    """The outcomes of run folders, of all runs below other folders, and of evaluate's files.

    Raises UserError for what is no run, is unfinished (unless `finished` leaves those out), or if
    several stages are among them and `stage` does not say which is meant. Runs of one method whose
    settings differ get these added to their name, so that only like runs are averaged.
    """
    found = {path.resolve(): path for place in places for path in _runs_in(place)}
    outcomes, unfinished = [], []
    for path in found.values():
        try:
            if path.is_file():
                outcome = _read_evaluation(path)
            elif _finished(path):
                outcome = read_run(path)
            else:
                if stage in (None, _stage(path)):
                    unfinished.append(path)
                continue
        except UserError as reason:
            if path in places or path.resolve() in places:  # asked for by name
                raise
            progress.warn(f"left out: {reason}")
            continue
        if stage in (None, outcome.stage):
            outcomes.append(outcome)
    if unfinished and not finished:
        more = f" (and {len(unfinished) - 1} more)" if len(unfinished) > 1 else ""
        raise UserError(
            f"{unfinished[0]} is not finished{more}: finish it with: "
            f"{progress.paste('resume', unfinished[0])}, or leave such out with --finished"
        )
    counts = Counter(o.stage for o in outcomes)
    if len(counts) > 1:
        shown = ", ".join(f"{n} of {name}" for name, n in sorted(counts.items()))
        raise UserError(
            f"runs of several stages do not compare ({shown}): choose one with "
            f"--stage {min(counts, key=lambda s: (-counts[s], s))}"
        )
    if not outcomes:
        of = f" of {stage}" if stage else " that can be read"
        raise UserError(f"none of these is a run{of}: {', '.join(map(str, places))}")
    return _told_apart(outcomes)


def _runs_in(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if (place / "run.json").is_file():
        return [place]
    if not place.is_dir():
        beside = sorted(str(p) for p in place.parent.glob("*/")) if place.parent.is_dir() else []
        meant = nearest(str(place), beside)
        raise UserError(f"{place}: no such folder" + (f"; did you mean {meant}?" if meant else ""))
    below = [path.parent for path in sorted(place.rglob("run.json"))]
    if not below:
        raise UserError(f"{place} is not a run, nor is there one below it: no run.json")
    return below


def _stage(folder: Path) -> str:
    return marks.stage_of(folder, "pretrain")


def _finished(folder: Path) -> bool:
    return marks.status_of(folder).state == "finished" and (folder / "summary.json").is_file()


def read_run(folder: Path) -> Outcome:
    """The outcome of a finished run."""
    return _outcome(folder, folder, files.read_json(folder / "summary.json"), None)


def _read_evaluation(path: Path) -> Outcome:
    """A learner of metatrain on a family that it was not trained on."""
    found = files.read_json(path.resolve())  # typed by the user: it may be a link
    family, run = found.get("family"), found.get("run")
    if not isinstance(family, dict) or not isinstance(found.get("meta"), dict):
        raise UserError(f"{path} is not a run, nor a file that evaluate --json wrote")
    folder = origin.beside(str(run), path)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{path} is of the run {run}, which is not there: start where it was made")
    return _outcome(path, folder, found, family)


def _outcome(
    path: Path, folder: Path, summary: dict[str, Any], family: Mapping[str, Any] | None
) -> Outcome:
    stage = _stage(folder)
    config = read_yaml(folder / "config.yaml")
    seed = config.get("seed", 0) if isinstance(config, dict) else None
    if stage not in STAGES or type(seed) is not int:
        raise UserError(f"{folder} is a run of {stage}, want one of {', '.join(STAGES)}")
    of_method, of_task = (_node(config.get(group)) for group in STAGES[stage])
    method = str(of_method.get("name"))
    if family is not None:
        config = {**config, "tasks": dict(family)}
        method += f" on {of_task.get('name')}"
        of_task = config["tasks"]
    source = str(config.get("from") or "")
    if config.get("name") not in (None, "base", origin.name_after(source)):
        method += f" {config['name']}"
    task = str(of_task.get("title", of_task.get("name")))
    if "env" in config and STAGES[stage][1] != "env":
        task = f"{_node(config['env']).get('name')} {task}"
    return Outcome(
        path,
        stage,
        method,
        task,
        seed,
        flat(config),
        _derived(summary),
        _source(Path(origin.located(source, folder) or "")) if source else "",
    )


def _source(folder: Path) -> str:
    """The method of the run that another was made from, whatever its seed."""
    path = folder / "config.yaml"
    config = read_yaml(path) if path.is_file() else {}
    if not isinstance(config, dict) or "skill" not in config:
        return str(folder.parent if folder.name.isdecimal() else folder)
    name = str(_node(config["skill"]).get("name"))
    return name if config.get("name") in (None, "base") else f"{name} {config['name']}"


def _node(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"name": value}


def _derived(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with the mean height of the fine-tuning curve from step 0: its area by its width.

    The steps spent choosing a skill, before the first look at a policy, count as the lowest value.
    """
    curve = _points(_at(summary, "finetune", "curve"))
    x, y = [p[0] for p in curve], [p[1] for p in curve]
    if len(curve) < 2 or x[-1] <= 0:
        return summary
    if x[0] > 0:
        x, y = [0.0, x[0], *x], [min(y), min(y), *y]
    pieces = [(x[i + 1] - x[i]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1)]
    return {**summary, "finetune": {"area": sum(pieces) / (x[-1] - x[0]), **summary["finetune"]}}


def _told_apart(outcomes: list[Outcome]) -> list[Outcome]:
    """Name after the method what differs between its runs on one task, and what they are from."""
    if len({o.source for o in outcomes if o.source}) > 1:
        outcomes = [
            replace(o, method=f"{o.method} from {o.source}") if o.source else o for o in outcomes
        ]
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for o in outcomes:
        groups[o.method, o.task].append(o)
    varying: dict[str, set[str]] = defaultdict(set)
    for (method, _), runs in groups.items():
        varying[method] |= {k for k in differing(runs) if not k.startswith("evaluate.")}
    named = []
    for o in outcomes:
        keys = sorted(varying[o.method])
        setting = " ".join(f"{_last(k)}={_value(o.config.get(k))}" for k in keys[:3])
        more = " ..." if len(keys) > 3 else ""
        named.append(replace(o, method=f"{o.method} {setting}{more}") if keys else o)
    return named


def differing(runs: Sequence[Outcome], prefix: str = "") -> list[str]:
    """The settings, below a prefix, in which runs differ and that change what is learned."""
    keys = dict.fromkeys(k for o in runs for k in o.config if k.startswith(prefix))
    return [
        key
        for key in keys
        if not {key.partition(".")[0], _last(key)} & set(_SAME_METHOD)
        and len({str(o.config.get(key)) for o in runs}) > 1
    ]


def _last(key: str) -> str:
    group, _, rest = key.partition(".")
    return rest or group


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def choose_metrics(outcomes: Sequence[Outcome], asked: Sequence[str]) -> list[str]:
    """The metrics asked for, or the stage's own. Raises UserError for one that no run has."""
    wanted = list(dict.fromkeys(asked)) or [
        m for m in METRICS[outcomes[0].stage] if all(o.score(m) is not None for o in outcomes)
    ]
    known = sorted({key for o in outcomes for key in numbers(o.summary)})
    for metric in wanted:
        lacking = [o.folder for o in outcomes if o.score(metric) is None]
        if len(lacking) == len(outcomes):
            meant = nearest(metric, known) or nearest(metric, [k.split(".")[-1] for k in known])
            full = [k for k in known if meant and (k == meant or k.endswith(f".{meant}"))]
            hint = f"; did you mean {full[0]}?" if full else "; --list shows those there are"
            raise UserError(f"--metric {metric}: no run has it{hint}")
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise UserError(
                f"--metric {metric}: {lacking[0]}{more} lacks it, {len(outcomes) - len(lacking)} "
                "have it; compare those alone, or another metric"
            )
    if not wanted:
        raise UserError("these runs have no metric in common: name one with --metric (--list)")
    return wanted


def numbers(node: Any, prefix: str = "") -> dict[str, float]:
    """Every number of a summary by its dotted key; of a list, its last entry as -1."""
    found: dict[str, float] = {}
    if isinstance(node, Mapping):
        for key, value in node.items():
            found |= numbers(value, f"{prefix}{key}.")
    elif isinstance(node, list) and node:
        found |= numbers(node[-1], f"{prefix}-1.")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        found[prefix.rstrip(".")] = float(node)
    return found


def reference(outcome: Outcome, metric: str) -> tuple[float | None, float | None]:
    """What a random policy and an expert score on the run's task, where that is known.

    Of configs/reference/; what was measured under other settings of the task does not count.
    """
    name = outcome.task.replace(" ", "_").replace("/", "_")
    path = ROOT / "configs" / "reference" / f"{name}.yaml"
    if not path.is_file():
        return None, None
    found = read_yaml(path)
    if any(outcome.config.get(key) != value for key, value in found.get("where", {}).items()):
        return None, None
    shots = _at(outcome.summary, "meta", "returns_by_shot")
    count = len(shots) if isinstance(shots, list) else 1
    if metric == "meta.returns_total" and "trial" in found:
        held = found["trial"] if found["trial"]["shots"] == count else {}
        return held.get("random"), held.get("expert")
    held, times = found.get("episode", {}), count if metric == "meta.returns_total" else 1
    if not (metric.startswith("meta.returns_") or metric in METRICS["finetune"]):
        return None, None
    low, high = held.get("random"), held.get("expert")
    return None if low is None else low * times, None if high is None else high * times
