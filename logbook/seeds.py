"""One stream of random numbers per purpose, derived from the run's seed by name.

Adding a purpose, or drawing more in one, then never shifts another.
"""

from __future__ import annotations

import hashlib


def seed_for(seed: int, purpose: str) -> int:
    """A seed in [0, 2**31) for `purpose`; the same on every machine and version.

    31 bits, so that `seed + i` for world i suits every generator, RandomState included.
    """
    digest = hashlib.sha256(f"{int(seed)}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1
