"""First-order MAML: as if a gradient step did not depend on where it starts.

Finn, Abbeel & Levine 2017 (arXiv 1703.03400, section 5.2): the Hessians of the inner losses are
left out, from the gradient and from the trust region alike: J = I.
"""

from __future__ import annotations

from meta.inner import Straight
from meta.maml import MAML

__all__ = ["FOMAML"]


class FOMAML(MAML):
    """MAML without second derivatives: half the time an update."""

    chain = Straight
