"""What `umrl_results.py` compares, and where: methods, worlds, families to be tested on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

UNTRAINED = "scratch"
OURS = "UML-DIAYN"

METHODS = {
    "maml": {
        OURS: "learner=maml tasks=skills",
        "UML-Random": "learner=maml tasks=random_discriminator",
        "pretrained on the skills": "learner=pretrained tasks=skills",
    },
    "rl2": {
        OURS: "learner=rl2 tasks=skills",
        "UML-Random": "learner=rl2 tasks=random_discriminator",
        "pretrained on the skills": "learner=rl2 learner.see_reward=false tasks=skills",
    },
}
"""What is trained on proposals. Without rewards to see, RL² is plain pretraining with a memory."""


@dataclass(frozen=True)
class World:
    """Where skills come from, how learners are trained on them, what they are tested on."""

    source: str  # the folder of the pretrain runs, below runs/results; none without proposals
    pretrain: str  # the command that makes them
    words: str  # of every metatrain run
    families: dict[str, dict[str, Any]]  # what is tested, with parameters
    learner: str = "maml"
    methods: dict[str, str] | None = None  # instead of those of the learner in METHODS
    others: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Further methods: what is typed, and the run below runs/results that proposes to a seed,
    if it is not that of `source`."""
    rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    shared: float = 0.1
    laters: tuple[float, ...] = (0.2, 0.5)  # of the rate, for steps after the first
    steps: int = 3  # of adaptation
    tasks: int = 40  # to test on
    width: int | None = None  # episodes a step of the test; none: as many as in training
    validation: int = 20


BODY: dict[str, Any] = {
    "rates": (0.1, 0.25, 0.5, 1.0),
    "shared": 0.5,
    "laters": (0.5, 1.0),
    "steps": 10,
    "tasks": 20,
    "validation": 8,
}
"""How learners are tested in the world of a body."""

UPRIGHT = "tasks.alive=1 tasks.effort=0.5"
"""Paid beside proposals: what ant_direction pays beside speed, but for the contacts' cost."""

WORLDS = {
    "point": World(
        source="umrl-point/pretrain",
        pretrain="skill=diayn env=point env.size=0.5 env.step_size=0.1 steps=60000",
        words="steps=4000000",
        # K is the one that served a method better on validation tasks, in the mean over seeds.
        methods=METHODS["maml"] | {OURS: "learner=maml tasks=skills burn_in=0"},
        others={
            "UML-DIAYN, K=1": ("learner=maml tasks=skills", ""),
            "UML-Random, K=0": ("learner=maml tasks=random_discriminator burn_in=0", ""),
        },
        rates=(0.015, 0.03, 0.06, 0.1, 0.2, 0.3, 0.6, 1.0, 2.0, 4.0),
        families={"point_goal": {"unit": 0.5, "walls": 0.5}},
        tasks=100,
        width=40,  # as MAML's released code tests
    ),
    "corner": World(
        source="umrl-corner/pretrain",
        pretrain="skill=diayn env=point env.size=2.5 env.step_size=0.2 steps=60000",
        words="steps=2000000 learner.inner_lr=0.3 learner.std=0.6 learner.gain=0.1 "
        "learner.normalize_steps=20000 learner.gamma=0.97 learner.lam=0.95 learner.max_kl=0.03",
        families={"point_corner": {"unit": 2.5, "walls": 2.5}},
        others={
            "UML-DIAYN, paid where recognised": (
                "learner=maml tasks=skills tasks.floor=-1",
                "",
            ),
            "UML-DIAYN, K=0": ("learner=maml tasks=skills burn_in=0", ""),
            "paid where recognised, K=0": (
                "learner=maml tasks=skills tasks.floor=-1 burn_in=0",
                "",
            ),
        },
        rates=(0.1, 0.3, 1.0, 2.0, 4.0),
        shared=0.3,
    ),
    "carml": World(
        source="",
        pretrain="",
        words="steps=2000000",
        families={"point_goal": {"size": 2.0}},
        methods={
            "CARML": "learner=maml tasks=carml",
            "fixed random tasks": "learner=maml tasks=carml tasks.every=0",
            "fixed, as wide as the goals": "learner=maml tasks=carml tasks.every=0 tasks.spread=1",
        },
        rates=(0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 4.0),
        shared=0.03,
    ),
    "cheetah": World(
        source="diayn-cheetah",
        pretrain="skill=diayn env=cheetah",
        words="steps=3000000 learner.meta_batch=16 tasks.threads=1 tasks.episode_steps=100",
        families={"cheetah_direction": {"threads": 1}, "cheetah_velocity": {"threads": 1}},
        others={
            "UML-Random, all observations": (
                "learner=maml tasks=random_discriminator",
                "diayn_obs-cheetah/0",
            ),
        },
        **BODY,
    ),
    "cheetah_rl2": World(
        source="diayn-cheetah",
        pretrain="skill=diayn env=cheetah",
        words="steps=1000000 tasks.threads=1 tasks.episode_steps=100",
        families={"cheetah_direction": {"threads": 1}, "cheetah_velocity": {"threads": 1}},
        learner="rl2",
        laters=(1.0,),
        steps=10,
        tasks=20,
        validation=10,
    ),
    "ant": World(
        source="metra-ant",
        pretrain="skill=metra env=ant steps=300000",
        words="steps=2000000 learner.inner_lr=0.1 tasks.threads=1 tasks.episode_steps=100",
        methods={
            "UML-METRA": f"learner=maml tasks=skills {UPRIGHT}",
            "UML-Random": f"learner=maml tasks=random_discriminator {UPRIGHT}",
            "pretrained on the skills": f"learner=pretrained tasks=skills {UPRIGHT}",
        },
        families={"ant_direction": {"threads": 1, "episode_steps": 100}},
        **BODY | {"rates": (0.03, 0.1, 0.3), "shared": 0.1, "laters": (0.5,)},
    ),
}


def methods_of(world: World) -> dict[str, str]:
    """Every method that is trained, by name: oracles train on the tested families."""
    methods = (world.methods or METHODS[world.learner]) | {
        m: words for m, (words, _) in world.others.items()
    }
    for family, node in world.families.items():
        keys = "".join(f" tasks.{k}={v}" for k, v in node.items() if k != "threads")
        methods[f"oracle ({family})"] = f"learner={world.learner} tasks={family}{keys}"
    return methods
