"""Policies with known answers, by name: what every learner is held against on its family.

Each is a class called with (family, seed) that fills `Policy` (meta/trial.py), so the evaluation
that scores a learner scores it too. A family lists those that fit it in `Tasks.baselines`.
"""

from __future__ import annotations

import importlib
from typing import Any

from meta.trial import Policy

_WHERE = {
    "random": ("meta.known_bandits", "Random"),
    "thompson": ("meta.known_bandits", "Thompson"),
    "ucb": ("meta.known_bandits", "UCB"),
    "epsilon_greedy": ("meta.known_bandits", "EpsilonGreedy"),
    "gittins": ("meta.known_bandits", "Gittins"),
    "bayes_optimal": ("meta.known_bandits", "BayesOptimal"),
    "pooled": ("meta.known_bandits", "Pooled"),
    "search": ("meta.known_bandits", "Search"),
    "informed": ("meta.known_bandits", "Informed"),
    "rescorla_wagner": ("meta.known_bandits", "RescorlaWagner"),
    "walk_filter": ("meta.known_bandits", "WalkFilter"),
    "best_arm": ("meta.known_bandits", "BestArm"),
    "straight": ("meta.known_points", "Straight"),
    "psrl": ("meta.known_mdps", "PSRL"),
    "optimal_mdp": ("meta.known_mdps", "OptimalMDP"),
    "bayes_filter": ("meta.known_mdps", "BayesFilter"),
    "win_stay": ("meta.known_mdps", "WinStay"),
    "sweep": ("meta.known_mdps", "Sweep"),
}


def known(name: str, family: Any, seed: int) -> Policy:
    """The policy of that name for a family (envs/tasks), drawing from its own stream."""
    module, cls = _WHERE[name]
    policy: Policy = getattr(importlib.import_module(module), cls)(family, seed)
    return policy
