"""The list of mutants has not rotted: each is a change of a line that is there, once."""

from __future__ import annotations

import pytest

from scripts import mutants
from tests.test_house import ROOT


def test_there_are_as_many_as_are_said() -> None:
    assert len(mutants.MUTANTS) == len({m.name for m in mutants.MUTANTS}) == 72


@pytest.mark.parametrize("mutant", [*mutants.MUTANTS, *mutants.EQUIVALENT], ids=lambda m: m.name)
def test_a_mutant_is_another_program(mutant: mutants.Mutant) -> None:
    right = (ROOT / mutant.file).read_text("utf-8")
    wrong = mutants.mutated(right, mutant)
    compile(wrong, mutant.file, "exec")
    assert wrong != right
    assert all((ROOT / path).exists() for path in mutants.tests_of(mutant))


def test_text_that_is_not_there_once_is_refused() -> None:
    mutant = mutants.Mutant("sign", "a.py", "a + b", "a - b", "")
    for text in ("a - b", "a + b; a + b"):
        with pytest.raises(ValueError, match="sign: in a.py the old text is there"):
            mutants.mutated(text, mutant)
