"""One command of a result, as a user would type it: where it runs, on which code, with what log."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAW = ROOT / "docs" / "results"
RUNS = ROOT / "runs" / "results"
SEEDS = (0, 1, 2)


def run(module: str, words: Sequence[str], folder: Path) -> int:
    """`python -m module words...` with one thread, in `folder` below RUNS; returns its exit code.

    One that was stopped goes on, a finished one ends at once. The folder's `commit` is that of the
    code it began with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "config.yaml").exists():
        (folder / "commit").write_text(commit())
    return _run([module, *words, f"hydra.run.dir={folder.relative_to(ROOT)}"], folder)


def evaluate(folder: Path, words: Sequence[str]) -> int:
    """`evaluate` of the run in `folder`, in the same way."""
    return _run(["meta.assess", str(folder.relative_to(ROOT)), *words], folder)


def _run(words: Sequence[str], folder: Path) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *words]
    with (folder / "log").open("a") as log:
        code = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log).returncode
    print(f"{folder.relative_to(RUNS)}: exit {code}", flush=True)
    return code


def commit() -> str:
    """The commit of the code, with a mark if the tree differs from it."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    code = ["--", "*.py", "*.yaml"]
    dirty = subprocess.run([*git, "status", "--porcelain", *code], capture_output=True, text=True)
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
