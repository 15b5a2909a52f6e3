"""The rows of `meta_results.py`: what is typed, what it is judged by, what to hold it against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Numbers = dict[str, Any]


def total(meta: Numbers) -> str:
    """The return of a whole trial."""
    return f"{meta['returns_total']:.2f}"


def shots(meta: Numbers) -> str:
    """The return after 0, 1, 2, 3 episodes."""
    return " / ".join(f"{x:.1f}" for x in meta["returns_by_shot"][:4])


def sparse_shots(meta: Numbers) -> str:
    """The same where returns are small."""
    return " / ".join(f"{x:.2f}" for x in meta["returns_by_shot"][:4])


def corners(meta: Numbers) -> str:
    """The same, with how many first episodes go to each corner, and last ones arrive."""
    share = {key: f"{100 * value:.0f}" for key, value in meta["marks"].items()}
    near = "/".join(share[f"near_{corner}"] for corner in ("sw", "se", "nw", "ne"))
    return f"{sparse_shots(meta)}; {near} %; {share['arrived']} %"


def gained(*steps: int) -> Callable[[Numbers], str]:
    """The return before, that after so many steps, and what these add, in standard errors too."""

    def shown(meta: Numbers) -> str:
        by_shot, parts = meta["returns_by_shot"], []
        for k in steps:
            gain, half = meta["gains_by_shot"][k], meta["gains_by_shot_95"][k]
            error = meta["gains_by_shot_se"][k] if "gains_by_shot_se" in meta else half / 1.96
            parts.append(f"{by_shot[k]:.1f}: {gain:+.1f} ({gain / error:.1f} s.e.)")
        return " / ".join([f"{by_shot[0]:.1f}", *parts])

    return shown


def and_untrained(meta: Numbers) -> str:
    """The return of a whole trial, and that of the same learner untrained."""
    untrained = meta["baselines"]["untrained"]
    half, other = meta["returns_total_95"], untrained["returns_total_95"]
    return f"{total(meta)} ({half:.0f}) / {total(untrained)} ({other:.0f})"


def mark(name: str) -> Callable[[Numbers], str]:
    """A mark of the family's own."""
    return lambda meta: f"{meta['marks'][name]:.2f}"


def both(*parts: Callable[[Numbers], str]) -> Callable[[Numbers], str]:
    """Several numbers, side by side."""
    return lambda meta: "; ".join(part(meta) for part in parts)


def second_choice(meta: Numbers) -> str:
    """How often the second choice of a pair is right, where right pays 1 and wrong -1."""
    return f"{(1 + meta['returns_by_shot'][1]) / 2:.3f}"


def after_first(meta: Numbers) -> str:
    """The return of all episodes, and of those after the first."""
    return f"{meta['returns_total']:.2f}, {sum(meta['returns_by_shot'][1:]):.2f}"


def visits(meta: Numbers) -> str:
    """Steps of the first visit and of the second."""
    first, second = meta["steps_by_shot"][:2]
    return f"{first:.1f}, then {second:.1f}"


def error(meta: Numbers) -> str:
    """Mean squared error after 1 and 10 gradient steps, of episodes of ten points."""
    by_shot = [-x / 10 for x in meta["returns_by_shot"]]
    return f"{by_shot[1]:.2f} / {by_shot[min(10, len(by_shot) - 1)]:.2f}"


@dataclass(frozen=True)
class Row:
    """A command, what it is judged by, and what to hold it against."""

    command: str  # {seed} is the run's own
    shown: Callable[[Numbers], str]
    what: str
    known: str  # published, and exact where that is known
    bar: str
    test: str = ""  # what `evaluate` is told afterwards; nothing: the training's own test counts


# What an arm says that costs 12 to ask, as levels: ten hints, a crumb, the prize.
DEAR = "[-11.85,-11.75,-11.65,-11.55,-11.45,-11.35,-11.25,-11.15,-11.05,0.0,3.0]"

# MAML's released code trains with 20 episodes a step and tests with 40 (its test_maml_point.py).
NAVIGATION = "learner.width=40 evaluate.tasks=400"

ROWS: dict[str, Row] = {
    "rl2-bandit_5x10": Row(
        "learner=rl2 tasks=bandit evaluate.tasks=4000",
        total,
        "reward of 10 pulls, 5 arms",
        "6.7; exact optimum 6.66",
        "6.5",
    ),
    "rl2-bandit_blind": Row(
        "learner=rl2 tasks=bandit learner.see_reward=false evaluate.tasks=4000",
        total,
        "the same, rewards hidden",
        "chance 5.0",
        "chance",
    ),
    "rl2-bandit_50x10": Row(
        "learner=rl2 tasks=bandit tasks.arms=50 steps=4000000 learner.hidden=128 learner.lam=0.3 "
        "learner.meta_batch=1000 learner.minibatches=8 learner.lr=2e-3 learner.entropy=0.01 "
        "evaluate.tasks=4000",
        total,
        "reward of 10 pulls, 50 arms",
        "6.8; exact optimum 6.71",
        "6.4",
    ),
    "rl2-bandit_5x100": Row(
        "learner=rl2 tasks=bandit tasks.pulls=100 steps=10000000 learner.lam=0.9 "
        "learner.meta_batch=500 learner.minibatches=8 evaluate.tasks=4000",
        total,
        "reward of 100 pulls, 5 arms",
        "78.7; Gittins 78.8",
        "77.0",
    ),
    "rl2-informative": Row(
        "learner=rl2 tasks=bandit_informative evaluate.tasks=4000",
        both(total, mark("first_informative")),
        "reward; share of first pulls that ask",
        "optimum 20.55; 1.00",
        "20.0; 0.99",
    ),
    "rl2-dear_k0": Row(
        "learner=rl2 tasks=bandit_informative tasks.cost=12 burn_in=0 "
        f"learner.reward_bins={DEAR} evaluate.tasks=4000",
        both(after_first, mark("first_informative")),
        "asking costs 12, all pulls count: reward, after the first; first asks",
        "11.0, 9.6; 0",
        "does not ask",
    ),
    "rl2-dear_k1": Row(
        "learner=rl2 tasks=bandit_informative tasks.cost=12 burn_in=1 "
        f"learner.reward_bins={DEAR} evaluate.tasks=4000",
        both(after_first, mark("first_informative")),
        "the same, pulls from the second on count",
        "8.55, 20.0; 1",
        "asks",
    ),
    "rl2-dependent": Row(
        "learner=rl2 tasks=bandit_dependent evaluate.tasks=4000",
        mark("regret"),
        "regret of 100 pulls, p uniform",
        "optimum 1.23",
        "1.85",
    ),
    "rl2-two_step": Row(
        "learner=rl2 tasks=two_step evaluate.tasks=4000",
        both(total, mark("interaction")),
        "reward of 10 trials; interaction",
        "Bayes filter 6.69; 0.98",
        "6.3; 0.6",
    ),
    "rl2-harlow": Row(
        "learner=rl2 tasks=harlow evaluate.tasks=4000",
        second_choice,
        "second choice right, unseen objects",
        "1",
        "0.95",
    ),
    "rl2-grid_goal": Row(
        "learner=rl2 tasks=grid_goal evaluate.tasks=1000",
        visits,
        "steps of the first visit, of the second",
        "-",
        "half the first",
    ),
    "rl2-tabular_mdp": Row(
        "learner=rl2 tasks=tabular_mdp evaluate.tasks=1000",
        total,
        "reward of 10 episodes",
        "156.2; PSRL 134.3",
        "150",
    ),
    "maml-sinusoid": Row(
        "learner=maml tasks=sinusoid evaluate.tasks=1000 evaluate.horizon=11",
        error,
        "squared error after 1 / 10 steps",
        "0.67 / 0.35",
        "0.9 / 0.5",
    ),
    "maml-point_goal": Row(
        "learner=maml tasks=point_goal evaluate.tasks=40",
        shots,
        "return after 0 / 1 / 2 / 3 steps",
        "-40.4 / -11.7 / -3.3 / -3.2",
        "- / -15 / -6 / -6",
        NAVIGATION,
    ),
    "pretrained-point_goal": Row(
        "learner=pretrained tasks=point_goal evaluate.tasks=40",
        shots,
        "the same, no adapting in training",
        "-40.8 / -19.7 / -11.7 / -8.5",
        "worse than MAML",
        NAVIGATION,
    ),
    "scratch-point_goal": Row(
        "learner=scratch tasks=point_goal steps=100000 evaluate.tasks=40",
        shots,
        "the same, from an untrained start",
        "-82.7 / -58.0 / -53.8 / -46.8",
        "-",
        NAVIGATION,
    ),
    "maml-point_corner": Row(
        "learner=maml tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "return after 0 / 1 / 2 / 3 steps, sparse",
        "optimum 2.61",
        "beats pretraining",
    ),
    "emaml-point_corner": Row(
        "learner=emaml tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "the same, exploring is paid",
        "optimum 2.61",
        "beats pretraining",
    ),
    "maml-point_corner_k0": Row(
        "learner=maml tasks=point_corner burn_in=0 learner.least_std=0.4 steps=10000000 "
        "evaluate.tasks=40",
        corners,
        "the same, start paid, spread held; first episodes by corner; arrived after 3 steps",
        "optimum 2.61; 25/25/25/25 %; 100 %",
        "beats pretraining; all corners",
    ),
    "emaml-point_corner_k0": Row(
        "learner=emaml tasks=point_corner burn_in=0 learner.least_std=0.4 steps=10000000 "
        "evaluate.tasks=40",
        corners,
        "the same, exploring is paid too",
        "optimum 2.61; 25/25/25/25 %; 100 %",
        "beats pretraining; all corners",
    ),
    "pretrained-point_corner": Row(
        "learner=pretrained tasks=point_corner evaluate.tasks=40",
        sparse_shots,
        "the same, no adapting in training",
        "optimum 2.61",
        "-",
    ),
    "maml-cheetah_direction": Row(
        "learner=maml tasks=cheetah_direction tasks.threads=1 steps=12000000 evaluate.tasks=40",
        shots,
        "return of 100 steps after 0 / 1 / 2 / 3 steps",
        "-50.7 / 293.2 / 313.5 / 315.7 (another cheetah, 200 steps)",
        "- / +150",
    ),
    "pretrained-cheetah_direction": Row(
        "learner=pretrained tasks=cheetah_direction tasks.threads=1 steps=3000000 "
        "evaluate.tasks=40",
        shots,
        "the same, no adapting in training",
        "-43.0 / -24.7 / -12.8 / 19.6 (as above)",
        "worse than MAML",
    ),
    "rl2-skills": Row(
        "learner=rl2 tasks=skills from=runs/results/diayn-cheetah/{seed} tasks.threads=1 "
        "tasks.episode_steps=100 steps=1000000 evaluate.tasks=100",
        and_untrained,
        "reward of two episodes of proposed tasks (95 %), and untrained",
        "-",
        "above untrained",
    ),
    "maml-hopper_dynamics": Row(
        "learner=maml tasks=hopper_dynamics tasks.threads=1 steps=3000000 evaluate.tasks=40",
        gained(1),
        "return of 200 steps before / after a step",
        "-",
        "3 s.e.",
    ),
    "maml-walker_dynamics": Row(
        "learner=maml tasks=walker_dynamics tasks.threads=1 steps=3000000 evaluate.tasks=40",
        gained(1),
        "return of 200 steps before / after a step",
        "-",
        "3 s.e.",
    ),
    "maml-ant_goal": Row(
        "learner=maml tasks=ant_goal tasks.threads=1 tasks.episode_steps=100 steps=5000000 "
        "evaluate.tasks=100",
        gained(1, 3),
        "return of 100 steps before / after a step / after three",
        "-",
        "3 s.e.",
    ),
    "maml-ant_velocity": Row(
        "learner=maml tasks=ant_velocity tasks.threads=1 tasks.episode_steps=100 burn_in=0 "
        "learner.inner_lr=0.1 steps=4000000 evaluate.tasks=4 evaluate.baselines=false",
        gained(1, 3, 10),
        "return of 100 steps before / after a step / after three / after ten",
        "-",
        "3 s.e.",
        "evaluate.tasks=60 evaluate.horizon=11 evaluate.baselines=true learner.later=1",
    ),
}
