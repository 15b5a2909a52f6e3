"""E-MAML: exploration before adapting is paid by what adapting achieves.

Stadie et al. 2018 (arXiv 1803.01118, eq. 4) add to MAML's gradient
E[R(after) * sum grad log pi_theta(a before)]. As in the code of Rothfuss et al. 2018 (arXiv
1810.06784), sums are means over samples, and a task's R is standardised over the tasks of the
update; with several steps, every earlier round is credited with the later ones that count.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from meta.evidence import Evidence
from meta.gradient import Rounds, surrogate
from meta.maml import MAML

__all__ = ["EMAML"]


class EMAML(MAML):
    """MAML whose first episodes are credited with the later ones."""

    def _outer(self, evidence: list[Evidence]) -> Rounds:
        outer = super()._outer(evidence)
        later = torch.zeros_like(evidence[0].rew)
        for k in range(len(evidence) - 1, -1, -1):
            e = evidence[k]
            if k < len(evidence) - 1:
                credit = later[:, None].expand_as(e.advantage)
                outer[k].append(surrogate(replace(e, advantage=credit)))
            if k >= self.burn_in and len(e.rew) > 1:
                spread = e.rew.std(correction=0)
                later = later + (e.rew - e.rew.mean()) / (spread + 1e-8)
        return outer
