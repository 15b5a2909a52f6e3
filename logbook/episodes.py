"""What a run says of its worlds: what to know first, episodes it lost, steps it could not use."""

from __future__ import annotations

from typing import Any

from logbook import progress
from logbook.record import MANY
from logbook.run import Run
from logbook.versions import AGAIN, alike, fitting


def begin(run: Run, training: Any, start: tuple[int, Any] | None) -> None:
    """Save a new training for the first time, or load one from where `run.restore` found it.

    Worlds that cannot be led back to where they stood begin new episodes; all that was learned
    stays, and the run is no longer exact. Raises UserError for a state that does not fit.
    """
    for line in getattr(training.world, "remarks", ()):
        progress.warn(line)
    if start is None:
        run.save(0, training.state_dict())
        return
    with fitting(str(run.folder), AGAIN):
        alike(start[1], training.state_dict())
        training.load_state_dict(start[1])
    lost = int(training.world.lost.sum()) if training.world is not None else 0
    if lost:
        run.exact = False
        progress.warn(
            f"{lost} of {training.world.num_envs} worlds could not be led back to where they stood "
            "(the same seed and actions led elsewhere) and begin new episodes; what was learned "
            "is kept, and the run is no longer exact"
        )


def tell_if_short(steps: int, whole: int, first: int, most: bool) -> None:
    """Say before the start that a run ends before it learns, or takes more steps than asked.

    The rest is the training's `rl.train.Pace`.
    """
    if steps <= first - whole:
        when = "learning may not begin" if most else "nothing is learned"
        progress.warn(f"steps={steps}: {when} before step {first:,}; try steps={first}")
    elif steps < whole:
        size = f"{'up to ' if most else ''}{whole:,}"
        progress.warn(f"steps={steps}: a round is {size} env steps, and one is taken whole")


def dropped(run: Run, training: Any) -> dict[str, int]:
    """How many steps of a training could not be used, for its summary; a warning if many."""
    world = training.world
    if world is not None and world.anew:
        run.exact = False
    count = 0 if world is None else int(world.unstable)
    if count > MANY * run.step:
        why = f" (in the first, {world.trouble})" if world.trouble else ""
        progress.warn(
            f"{count:,} of {run.step:,} steps could not be learned from{why}: what an env says "
            "must be finite numbers (and its physics must hold)"
        )
    return {"steps_dropped": count}
