"""strategy=all: the strategies one after the other in sub-folders, and one report over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from finetune.report import NOTE, curves, table
from logbook import files, identity, leave, origin, progress
from logbook.build import nearest
from logbook.config import CONFIGS, node_of
from logbook.errors import UserError
from logbook.markup import document, escape, facts, next_command

Config = dict[str, Any]
AT = (0.25, 0.5, 1.0)  # shares of the steps that the table tells


def compare_strategies(
    members: Sequence[str],
    config: Config,
    run_dir: Path,
    overrides: tuple[str, ...],
    learn: Callable[[Config, Path, tuple[str, ...]], None],
    about: Mapping[str, Any],
) -> None:
    """`learn` every member in `run_dir`/MEMBER, or go on; then write report.html and summary.json.

    A strategy that does not fit the task is told and left out. Raises UserError (code 75) when
    asked to stop, and if no strategy fits.
    """
    nodes = {name: _node(name) for name in members}
    for name in nodes:
        files.plain_folder(run_dir / name)  # a link would lead out of this run
    _claim(run_dir, config, overrides)
    done: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, node in nodes.items():
        progress.say(f"strategy {name}, {len(done) + len(left_out) + 1} of {len(nodes)}")
        try:
            learn({**config, "strategy": node}, run_dir / name, overrides)
        except UserError as e:
            if not str(e).startswith("strategy="):
                raise
            progress.warn(f"left out: {e}")
            left_out[name] = str(e)
            continue
        done[name] = _numbers_of(run_dir / name / "summary.json", int(config["steps"]))
    if not done:
        raise UserError(next(iter(left_out.values())))
    summary = {
        "stage": "finetune",
        "seed": config["seed"],
        "strategies": done,
        "left_out": left_out,
        "next": about["next"],
    }
    files.replace(run_dir / "summary.json", files.pretty(summary))
    write_page(run_dir, config, summary, about)
    status = {"state": "finished", "step": config["steps"], "steps": config["steps"]}
    files.replace(run_dir / "status.json", files.pretty(status))
    for name, numbers in done.items():
        final = numbers["final"]
        progress.say(f"  {name:<12} {final['mean']:,.4g} ± {final['95']:.2g}")
    progress.say(f"all strategies together: {run_dir / 'report.html'}")


def write_page(
    folder: Path, config: Config, summary: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Curves of all strategies in one picture, and their returns in a table."""
    done = summary["strategies"]
    missing = "".join(f"<li>{escape(why)}</li>" for why in summary["left_out"].values())
    links = " &middot; ".join(
        f'<a href="{escape(name)}/report.html">{escape(name)}</a>' for name in done
    )
    reward = next(iter(done.values()))["reward"]
    parts = [
        f"<h1>{escape(about['title'])}</h1>",
        facts(about),
        f"<p class=soft>Reward: <code>{escape(reward)}</code></p>",
        "<h2>Return against env steps</h2>",
        f'<div class="box">{curves(done)}{NOTE}</div>',
        "<h2>In numbers</h2>",
        table(done, [int(share * config["steps"]) for share in AT]),
        f"<h2>Left out</h2><ul>{missing}</ul>" if missing else "",
        f"<h2>Each on its own</h2><p>{links}</p>",
        next_command(about),
    ]
    files.replace(folder / "report.html", document(str(about["title"]), "\n".join(parts)))


def _numbers_of(path: Path, steps: int) -> dict[str, Any]:
    """A strategy's numbers. Raises UserError (code 5) if they cannot be drawn."""
    found = files.read_json(path)
    with files.sound(path):
        numbers: dict[str, Any] = found["finetune"]
        curves({"": numbers}), table({"": numbers}, [int(share * steps) for share in AT])
        f"{numbers['final']['mean']:g} {numbers['final']['95']:g} {numbers['reward']}"
    return numbers


def _node(name: str) -> dict[str, Any]:
    path = CONFIGS / "strategy" / f"{name}.yaml"
    if not name.isidentifier() or not path.is_file():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        meant = nearest(name, known)
        hint = f"did you mean {meant}? " if meant else ""
        raise UserError(f"strategy.members: no strategy {name}; {hint}({', '.join(known)})")
    return node_of("strategy", name)


def _claim(run_dir: Path, config: Config, overrides: tuple[str, ...]) -> None:
    """Mark the folder as this comparison's. Raises UserError if it is another run's."""
    files.check_run_folder(run_dir)
    now = config
    known = (run_dir / "config.yaml").exists()
    if known:
        identity.recognise(run_dir, config, "finetune")
        config = identity.begun(run_dir, config)
    run_dir.mkdir(parents=True, exist_ok=True)
    own = identity.digest(config, "finetune")
    told = {"schema": 1, "stage": "finetune", "identity": own}
    origin.note(run_dir, told, now, known)
    files.replace(run_dir / "overrides.txt", "".join(f"{o}\n" for o in overrides).encode())
    files.replace(run_dir / "config.yaml", identity.to_yaml(config))
    leave.remember(own, config["env"])
