"""Folders of the runs of a sweep: named by what varies between the runs, and never shared."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from logbook.errors import UserError

IN_PATH = frozenset("skill env learner tasks task strategy from name seed".split())
"""Keys that a run's folder says anyway, or its name."""

_LONGEST, _WIDEST = 40, 180  # characters of a value, and of all keys and values together


def varying(choices: Sequence[Sequence[Override]]) -> set[str]:
    """The keys that have several values, of what was typed for each override."""
    return {c[0].key_or_group for c in choices if len({str(o.input_line) for o in c}) > 1}


def name(job: Sequence[Override], keys: Collection[str]) -> str:
    """What a run's folder says of these keys: skill.num_skills=3,steps=640."""
    told = {o.key_or_group: str(o.input_line).partition("=")[2] for o in job}
    parts = [f"{_word(key)}={_word(value)}" for key, value in told.items() if key in keys]
    return _short(",".join(parts), ",".join(parts), _WIDEST)


def place(composed: DictConfig, dirname: str) -> Path:
    """The folder of a run of a sweep, by the command's yaml or as it was typed."""
    with read_write(composed), open_dict(composed):
        OmegaConf.update(composed, "hydra.job.override_dirname", dirname)
    return Path(composed.hydra.sweep.dir, composed.hydra.sweep.subdir)


def places(
    jobs: Sequence[Sequence[Override]], composed: Sequence[DictConfig], keys: set[str]
) -> list[Path]:
    """A folder of its own for each run; one that an older sweep made for it is kept.

    Raises UserError where two runs would share one.
    """
    older = [Path(c.hydra.sweep.dir, c.hydra.sweep.subdir) for c in composed]
    for told in (keys - IN_PATH, keys):
        found = [place(c, name(job, told)) for job, c in zip(jobs, composed, strict=True)]
        if len(set(found)) == len(found):
            alone = {p for p, times in Counter(older).items() if times == 1} - set(found)
            return [
                old if old in alone and (old / "config.yaml").is_file() else new
                for old, new in zip(older, found, strict=True)
            ]
    shared = Counter(found).most_common(1)[0][0]
    first, second, *_ = (k for k, path in enumerate(found) if path == shared)
    told_of = (" ".join(str(o.input_line) for o in jobs[k]) for k in (first, second))
    raise UserError(
        f"runs {first + 1} and {second + 1} of this sweep ({' and '.join(told_of)}) would share "
        f"the folder {shared}: let their values differ, or name what differs in hydra.sweep.subdir"
    )


def _word(text: str) -> str:
    """Text for a folder's name: what no path or shell takes plainly is left out, with a digest."""
    bare = re.fullmatch(r"(['\"])([\w.+-]*)\1", text, re.ASCII)
    plain = re.sub(r"[^\w.+-]+", "_", bare[2] if bare else text, flags=re.ASCII).strip("_")
    same = plain == (bare[2] if bare else text) and plain.strip(".") != ""
    return _short(plain if same else f"{plain[:_LONGEST]}-{_digest(text)}", text, _LONGEST + 9)


def _short(shown: str, text: str, limit: int) -> str:
    return shown if len(shown) <= limit else f"{shown[: limit - 9]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
