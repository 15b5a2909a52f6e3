"""Checkpoints: what comes back is what was kept, and nothing damaged ever does."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from logbook import checkpoint, files, tensors, tree
from logbook.checkpoint import CheckpointError, Manifest


def _same(a: Any, b: Any) -> bool:
    """Equal in type, order of keys and every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, torch.Tensor):
        if a.dtype == torch.bfloat16:
            a, b = a.view(torch.int16), b.view(torch.int16)
        return _same(a.numpy(), b.numpy())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or a != a and b != b)
    return bool(a == b)


def _state(seed: int = 0) -> dict[str, Any]:
    torch.manual_seed(seed)
    net = torch.nn.Linear(4, 3)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(4)).sum().backward()
    adam.step()
    rng = np.random.default_rng(seed)
    return {
        "agent": {"nets": dict(net.state_dict()), "opt": adam.state_dict()},
        "world": {"rngs": [rng.bit_generator.state], "rows": rng.normal(size=(5, 7))},
        "step": 100 + seed,
    }


def _save(parent: Path, step: int, run: str = "me", seed: int = 0) -> Path:
    return checkpoint.save(parent, _state(seed), Manifest(step, run))


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    state = _state() | {
        "odd": {
            "none": None,
            "yes": True,
            "huge": -(2**127) - 1,
            "floats": [0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan],
            "pair": (1, ("two", None)),
            "by_number": {3: "c", 1: torch.tensor(7)},
            "empty": [{}, [], (), ""],
            "text": "naïve \ud83d\udc3e \x00 {}".encode("utf-8", "replace").decode(),
            "clash": {"a.b": np.ones(1), "a": {"b": np.zeros(1)}},
        },
        "arrays": {
            "scalar": np.array(3.5),
            "none": np.zeros((0, 4), np.int32),
            "bools": np.array([True, False]),
            "nan": np.array([np.nan, -np.nan, np.inf, -0.0], np.float32),
            "words": [np.arange(3).astype(f"{k}{n}") for k in "ui" for n in (1, 2, 4, 8)],
            "half": torch.arange(4, dtype=torch.float16),
            "brain": torch.tensor([1.0, -2.5, math.nan], dtype=torch.bfloat16),
            "generator": torch.Generator().manual_seed(1).get_state(),
        },
    }
    folder = checkpoint.save(tmp_path, state, Manifest(100))
    assert _same(checkpoint.load(folder), state)
    assert checkpoint.load(folder)["arrays"]["words"][0].flags.writeable


def test_rows_of_a_strided_view_come_back_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensors, "_BLOCK", 1000)
    grid = np.arange(40_000.0).reshape(200, 200)
    views = {"columns": grid[:, 3:77], "turned": grid.T, "back": grid[::-1], "whole": grid}
    loaded = checkpoint.load(checkpoint.save(tmp_path, {"views": views}, Manifest(1)))
    for name, view in views.items():
        assert np.array_equal(loaded["views"][name], view), name


def test_a_contiguous_array_is_not_copied() -> None:
    rows = torch.zeros(100, 10)
    assert all(np.shares_memory(b, rows.numpy()) for b in tensors.Leaf("x", rows[:50]).blocks())


def test_files_are_ordinary_safetensors(tmp_path: Path) -> None:
    folder = _save(tmp_path, 1)
    theirs = load_file(folder / "agent.safetensors")
    ours = checkpoint.load(folder)["agent"]
    assert np.array_equal(theirs["agent.nets.weight"], ours["nets"]["weight"].numpy())
    assert np.array_equal(theirs["agent.opt.state.0.exp_avg"], ours["opt"]["state"][0]["exp_avg"])


def test_parts_are_read_without_the_rest(tmp_path: Path) -> None:
    state = _state()
    state["agent"]["replay"] = {"rows": np.ones(checkpoint._LARGE // 8)}
    folder = checkpoint.save(tmp_path, state, Manifest(1))
    large = folder / "agent.replay.rows.safetensors"
    data = bytearray(large.read_bytes())
    data[-1] ^= 1
    large.write_bytes(data)
    part = checkpoint.load(folder, only=("agent.nets", "world"))
    assert list(part) == ["agent", "world"] and list(part["agent"]) == ["nets"]
    assert _same(part["world"], state["world"])
    with pytest.raises(CheckpointError, match=r"agent\.replay\.rows\.safetensors"):
        checkpoint.load(folder)
    with pytest.raises(CheckpointError, match="no part 'critic'"):
        checkpoint.load(folder, only=("critic",))


@pytest.mark.parametrize(
    "bad", [{1, 2}, np.array(["a"]), torch.ones(1, dtype=torch.complex64), b"x", {1.5: 0}, object()]
)
def test_what_cannot_be_kept_is_named(tmp_path: Path, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"agent\.deep\.0"):
        checkpoint.save(tmp_path, {"agent": {"deep": [bad]}}, Manifest(1))
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_bit_is_refused_by_the_file_s_name(tmp_path: Path) -> None:
    folder = _save(tmp_path, 1)
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        for position in [0, 7, len(good) - 1, *rng.integers(0, len(good), 60)]:
            bad = bytearray(good)
            bad[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bad)
            with pytest.raises(CheckpointError) as refusal:
                checkpoint.load(folder)
            assert path.name in str(refusal.value) and "\n" not in str(refusal.value)
        path.write_bytes(good)
    checkpoint.verify(folder)


def test_every_truncation_and_growth_is_refused(tmp_path: Path) -> None:
    folder = _save(tmp_path, 1)
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        for bad in (b"", good[:1], good[: len(good) // 2], good[:-2], good + b" ", good + good):
            path.write_bytes(bad)
            if path.name == "manifest.json" and bad == good + b" ":
                continue  # white space is no damage
            for reader in (checkpoint.load, checkpoint.verify):
                with pytest.raises(CheckpointError, match=path.name):
                    reader(folder)
        path.write_bytes(good)


def test_swapped_missing_extra_and_odd_files_are_refused(tmp_path: Path) -> None:
    one, two = _save(tmp_path, 1, seed=1), _save(tmp_path, 2, seed=2)

    def refused(reason: str) -> None:
        with pytest.raises(CheckpointError, match=reason):
            checkpoint.load(one)

    agent = one / "agent.safetensors"
    kept = agent.read_bytes()
    shutil.copy(two / agent.name, agent)
    refused("agent.safetensors.*another checkpoint")
    agent.unlink()
    refused("agent.safetensors: it is missing")
    agent.symlink_to(two / agent.name)
    refused("agent.safetensors: it is a link")
    agent.unlink()
    os.mkfifo(agent)
    refused("agent.safetensors: it is a link or device")
    agent.unlink()
    agent.write_bytes(kept)
    (one / "more.bin").write_bytes(b"")
    refused("more.bin: it does not belong")
    (one / "more.bin").unlink()
    checkpoint.load(one)
    one.rename(tmp_path / "step-000000003")
    with pytest.raises(CheckpointError, match="holds step 1"):
        checkpoint.load(tmp_path / "step-000000003")
    with pytest.raises(CheckpointError, match="another run"):
        checkpoint.verify(two, run="you")
    link = tmp_path / "step-000000002.2"
    link.symlink_to(two)
    with pytest.raises(CheckpointError, match="not a folder"):
        checkpoint.load(link)


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"x": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"x": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}},
        {"x": {"dtype": "F32", "shape": [0] * 40, "data_offsets": [0, 0]}},
        {"x": [1], "y": None},
        [],
        "deep",
        "long",
    ],
)
def test_absurd_headers_are_refused_even_when_sealed(tmp_path: Path, header: Any) -> None:
    folder = _save(tmp_path, 1)
    text = "[" * 200_000 if header == "deep" else json.dumps(header)
    length = 2**60 if header == "long" else len(text)
    data = length.to_bytes(8, "little") + text.encode() + bytes(4)
    _reseal(folder, "agent.safetensors", data)
    with pytest.raises(CheckpointError, match=r"agent\.safetensors"):
        checkpoint.load(folder)


def _reseal(folder: Path, name: str, data: bytes) -> None:
    """Replace a file as a stranger would who also mends the manifest."""
    body = json.loads((folder / "manifest.json").read_text())
    proofs = {k: (v["bytes"], v["sha256"]) for k, v in body["files"].items()}
    proofs[name] = files.write(folder / name, data)
    (folder / "manifest.json").write_bytes(Manifest(1, files=proofs).dump())


@pytest.mark.parametrize(
    "text", ['{"a": {"b": 1, "c": 2}}', '{"a": {"x": NaN}}', '{"a": 1, "a": 2}', "[1]",
             '{"a": {"pickle": "x"}}', '{"a": {"tensor": "a.y"}}', '{"a": {"items": [[1]]}}']
)  # fmt: skip
def test_a_broken_state_is_refused_even_when_sealed(tmp_path: Path, text: str) -> None:
    folder = _save(tmp_path, 1)
    _reseal(folder, "state.json", text.encode())
    with pytest.raises(CheckpointError, match=r"state\.json"):
        checkpoint.load(folder)


@pytest.mark.parametrize("change", [{"step": "1"}, {"notes": []}, {"files": [1]}, {"run": 3}])
def test_a_manifest_of_odd_types_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = _save(tmp_path, 1).rename(tmp_path / "elsewhere")
    body = json.loads((folder / "manifest.json").read_text()) | change
    del body["seal"]
    seal = hashlib.sha256(tree.dumps(body)).hexdigest()
    (folder / "manifest.json").write_bytes(tree.dumps(body | {"seal": seal}))
    with pytest.raises(CheckpointError, match=r"manifest\.json"):
        checkpoint.load(folder)


def test_the_newest_good_one_is_found_and_the_others_named(tmp_path: Path) -> None:
    for step in (900_000_000, 1_000_000_000, 1_100_000_000, 1_200_000_000):
        _save(tmp_path, step)
    (tmp_path / "step-1200000000" / "manifest.json").unlink()
    (tmp_path / "step-1100000000" / "state.json").write_bytes(b"{}")
    folder, skipped = checkpoint.newest(tmp_path, "me")
    assert folder == tmp_path / "step-1000000000"
    assert "step-1200000000/manifest.json" in skipped[0]
    assert "step-1100000000/state.json" in skipped[1]
    assert checkpoint.newest(tmp_path, "you")[0] is None
    assert checkpoint.newest(tmp_path / "absent") == (None, [])


def test_pruning_and_sweeping_leave_the_newest(tmp_path: Path) -> None:
    for step in (5, 6, 7):
        _save(tmp_path, step)
    again = _save(tmp_path, 7, seed=3)
    assert again.name == "step-000000007.2"
    assert checkpoint.listed(tmp_path)[0] == again
    checkpoint.set_aside([again])
    checkpoint.prune(tmp_path, 2)
    (tmp_path / ".tmp-step-000000008-1").mkdir()
    (tmp_path / ".tmp-link").symlink_to(tmp_path / "step-000000006")
    checkpoint.sweep(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["refused-step-000000007.2", "step-000000006", "step-000000007"]
    assert (tmp_path / "step-000000006" / "manifest.json").exists()


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    rng, gen = np.random.default_rng(5), torch.Generator().manual_seed(5)
    rng.integers(9, dtype=np.uint8)  # leaves half a word buffered
    state = {"rngs": {"numpy": rng.bit_generator.state, "torch": gen.get_state()}}
    loaded = checkpoint.load(checkpoint.save(tmp_path, state, Manifest(1)))["rngs"]
    other = np.random.Generator(np.random.PCG64(0))
    other.bit_generator.state = loaded["numpy"]
    assert np.array_equal(
        rng.integers(9, size=5, dtype=np.uint8), other.integers(9, size=5, dtype=np.uint8)
    )
    second = torch.Generator()
    second.set_state(loaded["torch"])
    assert torch.equal(torch.rand(5, generator=gen), torch.rand(5, generator=second))
