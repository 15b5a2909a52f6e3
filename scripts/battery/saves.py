"""Checkpoints that are damaged, or of another run: a reader says so, or refuses."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from battery.folders import begin, take
from battery.trial import Kind, Member, Try

# Which folder of checkpoints a command reads its newest from.
READERS = {
    "inspect-skills": "checkpoints",
    "finetune": "checkpoints",
    "evaluate": "checkpoints",
    "evaluate, bandit": "checkpoints",
    "inspect-tasks, skills": "checkpoints",
    "metatrain": "checkpoints",
    "finetune, adapt": "checkpoints",
    "resume": "checkpoints",
    "resume, learner": "checkpoints",
    "resume, fine-tuning": "checkpoints",
    "inspect-tasks": "proposals",
}


def newest(run: Path, parent: str = "checkpoints") -> Path:
    """The newest checkpoint by name."""
    return sorted((run / parent).glob("step-*"))[-1]


def _flip(folder: Path, rng: random.Random) -> None:
    path = rng.choice(sorted(p for p in folder.iterdir() if p.stat().st_size > 0))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _cut(folder: Path, rng: random.Random) -> None:
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(path.read_bytes()[: -rng.randint(1, 60)])


def _grow(folder: Path, rng: random.Random) -> None:
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 9)))


def _lose(folder: Path, rng: random.Random) -> None:
    rng.choice(sorted(folder.iterdir())).unlink()


def _add(folder: Path, rng: random.Random) -> None:
    (folder / rng.choice(["extra.safetensors", "x.py", ".hidden", "sub"])).write_bytes(b"x")


def _swap(folder: Path, rng: random.Random) -> None:
    a, b = rng.sample(sorted(p for p in folder.iterdir() if p.suffix == ".safetensors"), 2)
    first, second = a.read_bytes(), b.read_bytes()
    a.write_bytes(second)
    b.write_bytes(first)


def _empty(folder: Path, rng: random.Random) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"")


def _clear(folder: Path, rng: random.Random) -> None:
    for path in folder.iterdir():
        path.unlink()


def _zero(folder: Path, rng: random.Random) -> None:
    path = rng.choice(sorted(folder.iterdir()))
    path.write_bytes(bytes(path.stat().st_size))


def _rename(folder: Path, rng: random.Random) -> None:
    folder.rename(folder.with_name(f"step-{999_000_000 + rng.randrange(99):09d}"))


def _edit(folder: Path, rng: random.Random) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    key = rng.choice(["step", "run", "notes", "versions", "seal"])
    path.write_text(text.replace(f'"{key}"', f'"{key}x"'))


DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "a bit": _flip, "cut": _cut, "longer": _grow, "a file lost": _lose, "a file more": _add,
    "two files exchanged": _swap, "emptied": _empty, "cleared": _clear, "zeros": _zero,
    "renamed": _rename, "manifest edited": _edit,
}  # fmt: skip


def damaged(how: str, command: str, seed: int) -> Member:
    """The newest checkpoint is damaged: say so and take the one before, or refuse."""

    def play(t: Try) -> None:
        run = take(t, command)
        parent = READERS[command]
        if command == "inspect-skills":
            (run / "index.html").write_text("the old page")
        if command == "inspect-tasks":
            (run / "tasks.html").write_text("the old page")
        DAMAGE[how](newest(run, parent), random.Random(seed))
        end = begin(t, command)
        if how == "renamed" and command == "resume, learner":
            return t.either(end, (5,))
        if end.code == 0:
            if "step-" not in end.err:
                t.wrong(f"{command}: an older checkpoint was taken without a word")
        else:
            t.refused(end, (5,), "step-|proposals|checkpoint")
            for page in ("index.html", "tasks.html"):
                if command == page and not (run / page).exists():
                    t.wrong(f"the old {page} is lost")
        return None

    return Member(f"newest checkpoint: {how}, {command} ({seed})", play)


def foreign(command: str, whole: bool) -> Member:
    """Checkpoints of another run (another seed) lie in the run's folder."""

    def play(t: Try) -> None:
        run = take(t, command)
        other = t.take("other", "elsewhere")
        if whole:
            shutil.rmtree(run / "checkpoints")
        target = run / "checkpoints" / newest(other).name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(newest(other), target)
        end = begin(t, command)
        if whole:
            t.refused(end, (5,), "another run|belongs")
        elif "another run" not in end.err and "belongs" not in end.err:
            t.wrong(f"{command}: a checkpoint of another run, and no word of it: code {end.code}")

    return Member(f"checkpoints of another run ({'all' if whole else 'newest'}), {command}", play)


def _draw_damaged(rng: random.Random) -> Member:
    if rng.random() < 0.25:
        commands = ["inspect-skills", "finetune", "inspect-tasks, skills", "metatrain", "resume"]
        return foreign(rng.choice(commands), rng.random() < 0.5)
    return damaged(rng.choice(list(DAMAGE)), rng.choice(list(READERS)), rng.randrange(1000))


# Bytes changed at random, read in this process: a hundred a member


def fuzz(name: str, seed: int, count: int = 60) -> Member:
    """Random bytes change; what is read must be what was saved, or a refusal in one line."""

    def play(t: Try) -> None:
        from logbook import checkpoint
        from logbook.errors import UserError

        run = t.take(name, "theirs")
        parent = "proposals" if seed % 3 == 0 and name == "learner" else "checkpoints"
        whole, rng = newest(run, parent), random.Random(seed)
        good = repr(checkpoint.load(whole))
        for number in range(count):
            folder = t.work / "fuzzed" / whole.name
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            how = rng.choice(list(DAMAGE))
            try:
                DAMAGE[how](folder, rng)
                found, skipped = checkpoint.newest(folder.parent)
                if found is not None:
                    if repr(checkpoint.load(found)) != good:
                        t.wrong(f"{how}, number {number}: another state was read")
                elif any("\n" in line for line in skipped) or not skipped:
                    t.wrong(f"{how}, number {number}: want a line: {skipped}")
            except UserError:
                pass
            except Exception as error:  # what would be a traceback
                t.wrong(f"{how}, number {number}: {type(error).__name__}: {error}")
            shutil.rmtree(folder.parent)

    return Member(f"{count} fuzzed checkpoints of {name} (seed {seed})", play)


KINDS = [
    Kind(
        "damaged and foreign checkpoints",
        [
            damaged("a bit", "inspect-skills", 0),
            damaged("a bit", "finetune", 0),
            damaged("a bit", "evaluate", 0),
            foreign("inspect-skills", False),
            foreign("finetune", False),
            foreign("resume", False),
        ],
        _draw_damaged,
    ),
    Kind(
        "fuzzed checkpoints",
        [fuzz("skills", 0)],
        lambda rng: fuzz(rng.choice(["skills", "learner", "bandit"]), rng.randrange(10**6)),
    ),
]
