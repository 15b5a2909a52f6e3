"""The choice of a matmul: exact, or not taken."""

import pytest
import torch

import rl.matmul
from rl.matmul import EXACT, choose_matmul


@pytest.fixture(autouse=True)
def _restore():  # type: ignore[no-untyped-def]
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_the_choice_is_set_and_exact() -> None:
    choice = choose_matmul()
    assert choice in ("highest", "medium") and torch.get_float32_matmul_precision() == choice
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(5))
    want = a.double() @ b.double()
    assert float((a @ b - want).abs().max() / want.abs().max()) < EXACT


@pytest.mark.parametrize(
    "usual,other,error,choice",
    [
        (2.0, 1.0, 3e-7, "medium"),
        (2.0, 1.0, 3e-3, "highest"),  # it rounds to bfloat16
        (1.05, 1.0, 3e-7, "highest"),  # no faster, by all that a clock can tell
        (1.0, 2.0, 3e-7, "highest"),
    ],
)
def test_fast_and_exact_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, usual: float, other: float, error: float, choice: str
) -> None:
    tried = {"highest": (usual, 3e-7), "medium": (other, error)}
    monkeypatch.setattr(rl.matmul, "_try", lambda precision, a, b: tried[precision])
    assert choose_matmul() == choice == torch.get_float32_matmul_precision()
