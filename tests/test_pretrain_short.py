"""A run of too few steps for its agent to learn says so before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbook.compose import compose
from pretrain.stage import pretrain_stage

SMALL = "env=point num_envs=4 atlas.videos=false evaluate.reps=1 evaluate.steps=5 device=cpu"


@pytest.mark.parametrize(
    ("words", "told", "updates"),
    [
        ("steps=60 agent.start_steps=62", "before step 64; try steps=64", False),
        ("steps=64 agent.start_steps=62", "", True),
        ("steps=9 agent=ppo agent.horizon=8", "a round is 32 env steps", True),
    ],
)
def test_too_few_steps_are_told(
    words: str, told: str, updates: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = compose("pretrain", [*SMALL.split(), *words.split()]).config
    pretrain_stage(config, tmp_path / "run")
    said = [line for line in capsys.readouterr().err.splitlines() if "steps=" in line]
    assert len(said) == bool(told) and told in "".join(said)
    assert ('"train/n_updates": 0' not in (tmp_path / "run/metrics.jsonl").read_text()) == updates
