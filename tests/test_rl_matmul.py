"""The choice of a matmul: exact, or not taken."""

from pathlib import Path

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
    "wide,error,choice",
    [
        (True, 3e-7, "medium"),
        (True, 3e-3, "highest"),  # it rounds to bfloat16
        (False, 3e-7, "highest"),
    ],
)
def test_fast_and_exact_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, wide: bool, error: float, choice: str
) -> None:
    monkeypatch.setattr(rl.matmul, "_wide", lambda: wide)
    monkeypatch.setattr(rl.matmul, "_error", lambda precision: error)
    assert choose_matmul() == choice == torch.get_float32_matmul_precision()


@pytest.mark.parametrize(
    "saved,error,kept",
    [
        ("medium", 3e-7, "medium"),
        ("medium", 3e-3, "highest"),  # begun on another machine than this
        ("highest", 3e-3, "highest"),
    ],
)
def test_the_choice_of_a_checkpoint_is_kept_where_it_is_exact(
    monkeypatch: pytest.MonkeyPatch, saved: str, error: float, kept: str
) -> None:
    monkeypatch.setattr(rl.matmul, "_error", lambda precision: error)
    rl.matmul.keep_matmul(saved)
    assert torch.get_float32_matmul_precision() == kept


CPU = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: {}\nmodel name\t: A\nflags\t\t: {}\n\n"


@pytest.mark.parametrize(
    "vendor,family,flags,wide",
    [
        ("AuthenticAMD", "26", "avx2 avx512f avx512vl", True),  # Zen 5
        ("AuthenticAMD", "25", "avx2 avx512f avx512vl", False),  # Zen 4: half as wide
        ("AuthenticAMD", "26", "avx2", False),  # a virtual machine that hides them
        ("GenuineIntel", "26", "avx2 avx512f", False),
        ("AuthenticAMD", "", "avx512f", False),
    ],
)
def test_which_processors_are_wide(
    tmp_path: Path, vendor: str, family: str, flags: str, wide: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPU.format(vendor, family, flags) * 2)
    assert rl.matmul._wide(cpuinfo) is wide
    assert rl.matmul._wide(tmp_path / "absent") is False
