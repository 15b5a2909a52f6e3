"""Cells: what they compute, and their hand-written way back."""

import pytest
import torch
from torch import Tensor, nn

from rl.recurrent import GRU, LSTM, Cell

STEPS, NUM, INPUTS, WIDTH = 7, 5, 3, 6
CELLS = [GRU, LSTM]


def _cell(cls: type[Cell]) -> Cell:
    """A cell with biases that matter."""
    generator = torch.Generator().manual_seed(0)
    cell = cls(INPUTS, WIDTH, generator)
    with torch.no_grad():
        cell.theta.add_(0.3 * torch.randn(cell.theta.shape, generator=generator))
    return cell


def _data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(STEPS, NUM, INPUTS, generator=generator)
    return x, torch.randn(STEPS, NUM, WIDTH, generator=generator)


def _torch_gru(cell: Cell, flat: Tensor) -> dict[str, Tensor]:
    w, v, u = cell.views(flat)
    i = INPUTS
    return {
        "weight_ih_l0": torch.cat([w[:i], v[:i]], 1).T,
        "weight_hh_l0": torch.cat([w[i + 1 :], u[1:]], 1).T,
        "bias_ih_l0": torch.cat([w[i], v[i]]),
        "bias_hh_l0": torch.cat([torch.zeros_like(w[i]), u[0]]),
    }


def _torch_lstm(cell: Cell, flat: Tensor) -> dict[str, Tensor]:
    """Theirs has its gates in the order i, f, g, o; ours i, f, o, g."""
    i, f, o, g = cell.views(flat)[0].chunk(4, -1)
    w = torch.cat([i, f, g, o], 1)
    return {
        "weight_ih_l0": w[:INPUTS].T,
        "weight_hh_l0": w[INPUTS + 1 :].T,
        "bias_ih_l0": w[INPUTS],
        "bias_hh_l0": torch.zeros_like(w[INPUTS]),
    }


@pytest.mark.parametrize(
    "cls, theirs, names", [(GRU, nn.GRU, _torch_gru), (LSTM, nn.LSTM, _torch_lstm)]
)
def test_a_cell_and_its_gradient_are_torchs(cls, theirs, names):
    cell, (x, grad) = _cell(cls), _data()
    peer = theirs(INPUTS, WIDTH)
    peer.load_state_dict(names(cell, cell.theta.detach()))
    want, _ = peer(x)
    want.backward(grad)
    trace = cell.trace(x)
    torch.testing.assert_close(trace.out, want.detach(), atol=1e-5, rtol=1e-5)
    into = torch.full_like(cell.theta, torch.nan)
    cell.pull(trace, grad, into)
    for name, got in names(cell, into.detach()).items():
        if name != "bias_hh_l0":
            torch.testing.assert_close(got, getattr(peer, name).grad, atol=1e-5, rtol=1e-5)
    if cls is GRU:  # the one bias that stands inside the reset gate
        torch.testing.assert_close(
            cell.views(into)[-1][0], peer.bias_hh_l0.grad[2 * WIDTH :], atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("cls", CELLS)
def test_the_gradient_is_that_of_finite_differences(cls):
    cell, (x, grad) = _cell(cls).double(), _data()
    x, grad = x.double(), grad.double()
    into = torch.empty_like(cell.theta)
    cell.pull(cell.trace(x), grad, into)
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        way = torch.randn(cell.theta.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                cell.theta.add_(sign * 1e-6 * way)
            ends.append((cell.trace(x).out * grad).sum())
            with torch.no_grad():
                cell.theta.sub_(sign * 1e-6 * way)
        slope = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close((into * way).sum(), slope, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cls", CELLS)
def test_steps_and_a_sequence_agree(cls):
    cell, (x, _) = _cell(cls), _data()
    out, state = cell.trace(x).out, cell.start(NUM)
    assert not state.any()
    with torch.no_grad():
        for t in range(STEPS):
            state = cell.step(x[t], state)
            assert state.shape == (NUM, cell.state_width)
            torch.testing.assert_close(state[:, :WIDTH], out[t])


@pytest.mark.parametrize("cls", CELLS)
def test_worlds_do_not_hear_of_each_other_nor_of_the_future(cls):
    cell, (x, _) = _cell(cls), _data()
    out = cell.trace(x).out.clone()
    other = x.clone()
    other[4:, 2] += 1.0
    moved = (cell.trace(other).out - out).abs().amax(-1) > 1e-7
    assert moved[4:, 2].all()
    moved[4:, 2] = False
    assert not moved.any()


@pytest.mark.parametrize("cls", CELLS)
def test_a_moved_parameter_is_looked_up_again(cls):
    cell, (x, _) = _cell(cls), _data()
    before = cell.trace(x).out.clone()
    cell.theta.data = cell.theta.data.clone()
    with torch.no_grad():
        cell.theta.mul_(0.5)
    assert not torch.allclose(cell.trace(x).out, before)


def test_a_second_sequence_leaves_the_first_alone_until_it_is_used_up():
    cell, (x, grad) = _cell(GRU), _data()
    first = cell.trace(x)
    out, into = first.out.clone(), [torch.empty_like(cell.theta) for _ in range(2)]
    cell.trace(x[:3] + 1.0)
    assert torch.equal(first.out, out)
    cell.pull(first, grad, into[0])
    cell.pull(cell.trace(x), grad, into[1])
    assert torch.equal(into[0], into[1]), "memory that served before"


def test_a_cell_starts_without_biases_and_an_lstm_remembering():
    cell = LSTM(INPUTS, WIDTH, torch.Generator().manual_seed(0))
    bias = cell.views(cell.theta.detach())[0][INPUTS]
    assert bias.nonzero()[:, 0].tolist() == list(range(WIDTH, 2 * WIDTH))
    cell = GRU(INPUTS, WIDTH, torch.Generator().manual_seed(0))
    w, v, u = cell.views(cell.theta.detach())
    assert not w[INPUTS].any() and not v[INPUTS].any() and not u[0].any()
    torch.testing.assert_close(u[1:].T @ u[1:], torch.eye(WIDTH))
    assert w[:INPUTS].all() and v[:INPUTS].all()


def test_widths_are_at_least_one():
    with pytest.raises(ValueError, match="0 units"):
        GRU(INPUTS, 0, torch.Generator())


@pytest.mark.parametrize("cls", CELLS)
def test_units_start_with_memories_of_all_lengths_that_were_asked_for(cls):
    width, longest = 2000, 50.0
    cell = cls(INPUTS, width, torch.Generator().manual_seed(0), longest)
    bias = cell.views(cell.theta.detach())[0][INPUTS]
    kept = bias[width : 2 * width]
    lasts = 1 / (1 - kept.sigmoid()) - 1
    assert lasts.min() > 0.99 and lasts.max() < 50.1
    assert float(lasts.mean()) == pytest.approx(25.5, abs=1.0)
    if cls is LSTM:
        assert torch.equal(bias[:width], -kept), "what is kept for long is seldom written"
    else:
        assert not bias[:width].any(), "the reset gate"
    with pytest.raises(ValueError, match="at least 1 step"):
        cls(INPUTS, width, torch.Generator(), 0.5)
