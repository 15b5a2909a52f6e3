"""Worlds that feel their contacts: the forces on every body, [N, nbody, 6].

MuJoCo computes `cfrc_ext` only when asked to, after a step, and `mujoco.batch.Batch` has no place
to ask. The C library under it does (`mjb_apply` runs any function on every simulation), so these
worlds drive that library through ctypes; its results are Gymnasium's bit for bit.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from envs.base import Array
from envs.mujoco import MujocoWorld
from rl.types import State

_Ids = NDArray[Any] | None
_NONE = mujoco.mjtStage.mjSTAGE_NONE.value
_ACC = mujoco.mjtStage.mjSTAGE_ACC.value


class _Config(ctypes.Structure):
    _fields_ = (("nthread", ctypes.c_int), ("persistent", ctypes.c_bool))


def _library() -> ctypes.CDLL:
    """The MuJoCo library that is already loaded, with the signatures used here."""
    home = Path(mujoco.__file__).parent
    found = [p for p in home.glob("*mujoco*") if p.suffix == ".dll" or ".so" in p.suffixes]
    found += home.glob("libmujoco*.dylib")
    if not found:
        raise RuntimeError(f"no MuJoCo library in {home}: install mujoco again")
    lib = ctypes.CDLL(str(found[0]))
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    lib.mjb_makeBatch.restype = pointer
    lib.mjb_makeBatch.argtypes = [pointer, integer, pointer, ctypes.c_char_p, integer]
    lib.mjb_deleteBatch.argtypes = [pointer]
    for name in ("mjb_state", "mjb_stateComponent", "mjb_warning", "mjb_output"):
        getattr(lib, name).restype = pointer
    lib.mjb_state.argtypes = lib.mjb_warning.argtypes = lib.mjb_nstate.argtypes = [pointer]
    lib.mjb_stateComponent.argtypes = [pointer, integer, pointer]
    lib.mjb_output.argtypes = [pointer, ctypes.c_char_p, pointer, pointer]
    lib.mjb_step.argtypes = [pointer, pointer, integer, integer, integer]
    lib.mjb_forward.argtypes = [pointer, pointer, integer, integer]
    lib.mjb_apply.argtypes = [pointer, pointer, integer, pointer, pointer, integer]
    lib.mjb_error.restype = ctypes.c_char_p
    lib.mjb_error.argtypes = [pointer, integer]
    return lib


class ContactBatch:
    """The part of `mujoco.batch.Batch` that a world needs; a step also computes `cfrc_ext`.

    `outputs` names the derived fields that `bind` will be asked for. Each simulation keeps its own
    MjData, since the contact forces need the whole of it after the last substep.
    """

    def __init__(
        self, model: mujoco.MjModel, nsim: int, threads: int, outputs: tuple[str, ...]
    ) -> None:
        self._lib = _library()
        why = ctypes.create_string_buffer(1000)
        config = _Config(threads, True)
        self._handle = self._lib.mjb_makeBatch(
            model._address, nsim, ctypes.byref(config), why, 1000
        )
        if not self._handle:
            raise RuntimeError(f"MuJoCo made no batch of {nsim}: {why.value.decode()}")
        self.nsim = nsim
        self._reaction = ctypes.cast(self._lib.mj_rnePostConstraint, ctypes.c_void_p)
        width = self._lib.mjb_nstate(self._handle)
        self.state = self._array(self._lib.mjb_state(self._handle), (nsim, width), np.float64)
        count = mujoco.mjtWarning.mjNWARNING.value
        place = self._lib.mjb_warning(self._handle)
        self.warning = self._array(place, (nsim, count, 2), np.int32)
        data = mujoco.MjData(model)
        self._fields: dict[str, Array] = {}
        for name in ("qpos", "qvel", "ctrl"):
            part = getattr(mujoco.mjtState, f"mjSTATE_{name.upper()}").value
            size = ctypes.c_int()
            first = self._lib.mjb_stateComponent(self._handle, part, ctypes.byref(size))
            start = (first - self.state.ctypes.data) // 8
            self._fields[name] = self.state[:, start : start + size.value]
        for name in outputs:
            place = self._lib.mjb_output(self._handle, name.encode(), None, None)
            shape = (nsim, *getattr(data, name).shape)
            self._fields[name] = self._array(place, shape, np.float64)

    def bind(self, name: str) -> Array:
        """A live [nsim, ...] array of a state field or of one of `outputs`."""
        return self._fields[name]

    def step(self, ids: _Ids, substeps: int) -> None:
        """Advance by substeps, then compute the contact forces of the state before the last."""
        place, n, kept = self._ids(ids)
        failed = self._lib.mjb_step(self._handle, place, n, substeps, _NONE)
        # called with (model, data, simulation, argument): it takes two, and the rest are ignored
        failed += self._lib.mjb_apply(self._handle, place, n, self._reaction, None, 0)
        self._check(failed + self._lib.mjb_forward(self._handle, place, n, _NONE))

    def forward(self, ids: _Ids = None) -> None:
        """Compute the derived fields of the present state, except the contact forces."""
        place, n, kept = self._ids(ids)
        self._check(self._lib.mjb_forward(self._handle, place, n, _ACC))

    def _ids(self, ids: _Ids) -> tuple[int | None, int, Any]:
        """Address, count, and the array that must outlive the call."""
        if ids is None:
            return None, 0, None
        ids = np.ascontiguousarray(ids, np.int32)
        return ids.ctypes.data, len(ids), ids

    def _check(self, failed: int) -> None:
        if failed:
            errors = (self._lib.mjb_error(self._handle, i).decode() for i in range(self.nsim))
            raise RuntimeError(
                f"MuJoCo failed in {failed} simulations: {next(filter(None, errors))}"
            )

    def _array(self, place: int, shape: tuple[int, ...], dtype: Any) -> Array:
        """A view of the library's own memory, which lives as long as this batch."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        buffer = (ctypes.c_char * size).from_address(place)
        buffer.owner = self  # the view keeps the buffer, the buffer keeps the batch
        return np.frombuffer(buffer, dtype).reshape(shape)

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._lib.mjb_deleteBatch(self._handle)
            self._handle = None


class ContactWorld(MujocoWorld):
    """A world whose obs or reward reads contact forces and the place of a body.

    A subclass also fills `_place`: where, in derived fields, its reward measures progress. Those
    lag qpos by one substep, so the place before a step is kept rather than computed again.
    """

    trail = 2
    outputs: tuple[str, ...]

    def _bind(self) -> None:
        self._at = np.zeros((self.num_envs, 2))

    def _simulator(self, threads: int) -> Any:
        return ContactBatch(self.model, self.num_envs, threads, self.outputs)

    def _begin(self, ids: NDArray[np.int64]) -> None:
        super()._begin(ids)
        self.batch.bind("cfrc_ext")[ids] = 0.0  # Gymnasium, too, does not compute them at a reset
        self._at[ids] = self._place()[ids]

    def _travel(self) -> Array:
        """Velocity [N, 2] of the place over the last step."""
        now = self._place()
        velocity: Array = (now - self._at) / self.dt
        self._at = now
        return velocity

    def _place(self) -> Array:
        """Its x and y [N, 2], a fresh array."""
        raise NotImplementedError

    def _save(self) -> State:
        return {**super()._save(), "place": self._at.copy()}

    def _load(self, state: State) -> None:
        super()._load(state)
        self._at = np.array(state["place"])
