"""Pictures of MuJoCo models, made quickly in software: no shadows, reflections or multisampling.

The camera follows the agent along the floor but not up and down, so that jumps and falls show.
Everything is drawn from a copy of the model: a picture never changes the simulation.
"""

from __future__ import annotations

import atexit
import copy
import os
import weakref
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

_PLAIN = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_FOG", "mjRND_HAZE")
_PERIOD = 2.0  # metres after which the floor looks the same: a checker of two squares
_NEAR = 50.0  # metres; no world with walls is larger
_FLOOR = np.array([[118, 136, 152], [150, 168, 184]])  # the checker's two tones
_SKY = np.array([[205, 216, 228], [238, 243, 248]])

_PLACE = np.array([0.45, 0.75, 0.55, 0.8], np.float32)

_OFF = ("disable", "disabled", "off", "false", "0")  # values of MUJOCO_GL

_failed: list[str] = []  # why OpenGL is not to be had: after one failure MuJoCo's next try aborts
_open: weakref.WeakSet[Drawing] = weakref.WeakSet()  # to be closed before Python is gone


@dataclass(frozen=True)
class Camera:
    """Where pictures are taken from: `distance` m from a point `height` m above the floor.

    The point follows body `body` in x and y. Angles in degrees: azimuth 90 looks along +y (the
    agent runs to the right), elevation -90 straight down.
    """

    distance: float = 3.2
    azimuth: float = 90.0
    elevation: float = -12.0
    height: float = 0.45
    body: int = 1


class Drawing:
    """Draws one model from positions; keeps one renderer per picture size until `close()`."""

    def __init__(self, model: mujoco.MjModel, camera: Camera) -> None:
        self.model = copy.copy(model)
        self._data = mujoco.MjData(self.model)
        self._camera = camera
        self._moving = np.flatnonzero(model.geom_bodyid > 0)
        self._renderers: dict[tuple[int, int], Any] = {}
        _prepare(self.model)

    def frame(
        self, qpos: NDArray[Any], width: int, height: int, places: NDArray[Any]
    ) -> NDArray[np.uint8]:
        """A picture [height, width, 3] of the model at `qpos` [nq], discs on the floor at `places`.

        `places` [M, 3] are x, y, radius in m. Raises RuntimeError if no OpenGL is to be had.
        """
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)
        view = mujoco.MjvCamera()
        view.distance = self._camera.distance
        view.azimuth = self._camera.azimuth
        view.elevation = self._camera.elevation
        place = self._data.xpos[self._camera.body, :2].copy()
        # floors are drawn only within some hundred metres of the origin: bring the agent back there
        home = _PERIOD * np.round(place / _PERIOD) * (abs(place) > _NEAR)
        self._data.geom_xpos[self._moving, :2] -= home
        self._data.site_xpos[:, :2] -= home
        self._data.light_xpos[:, :2] -= home
        view.lookat[:] = *(place - home), self._camera.height
        renderer = self._renderer(width, height)
        renderer.update_scene(self._data, view)
        for x, y, radius in places:
            _disc(renderer.scene, np.array([x - home[0], y - home[1], 0.0]), radius)
        for flag in _PLAIN:
            renderer.scene.flags[getattr(mujoco.mjtRndFlag, flag)] = False
        picture: NDArray[np.uint8] = renderer.render()
        return picture

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _renderer(self, width: int, height: int) -> Any:
        if (width, height) not in self._renderers:
            if _failed:
                raise RuntimeError(_failed[0])
            if os.environ.get("MUJOCO_GL", "").lower().strip() in _OFF:
                raise RuntimeError("drawing is turned off by MUJOCO_GL")
            size = self.model.vis.global_
            size.offwidth = max(size.offwidth, width)
            size.offheight = max(size.offheight, height)
            try:
                made = mujoco.Renderer(self.model, height, width, max_geom=1000)
            except Exception as reason:  # the backends raise anything, also AttributeError
                told = (
                    "drawing needs OpenGL: set MUJOCO_GL=egl or MUJOCO_GL=osmesa before Python "
                    f"starts, and install libegl1 libgl1 or libosmesa6 ({reason})"
                )
                if isinstance(reason, mujoco.FatalError):
                    _failed.append(told)
                raise RuntimeError(told) from reason
            self._renderers[width, height] = made
            _open.add(self)
            atexit.unregister(_close_all)
            atexit.register(_close_all)  # before OpenGL's own, which runs if registered later
        return self._renderers[width, height]


def _disc(scene: mujoco.MjvScene, middle: NDArray[Any], radius: float) -> None:
    """Put a flat disc into the scene, where there is room for it."""
    if scene.ngeom >= scene.maxgeom:
        return
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom],
        mujoco.mjtGeom.mjGEOM_CYLINDER,
        np.array([radius, 0.01, 0.0]),
        middle,
        np.eye(3).ravel(),
        _PLACE,
    )
    scene.ngeom += 1


def _close_all() -> None:
    for drawing in list(_open):
        drawing.close()


def _prepare(model: mujoco.MjModel) -> None:
    """Cheap, bright, and with a floor that does not end where a fast agent gets to."""
    model.vis.quality.offsamples = 0
    model.vis.quality.shadowsize = 0
    model.vis.headlight.ambient[:] = 0.45
    model.vis.headlight.diffuse[:] = 0.5
    model.vis.headlight.specular[:] = 0.1
    model.light_diffuse[:] = 0.35
    model.light_specular[:] = 0.0
    for floor in np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE):
        model.geom_size[floor] = 0.0, 0.0, 1.0  # infinite; drawn around the camera in 1 m strips
        model.geom_rgba[floor] = 1.0
        material = model.geom_matid[floor]
        if material < 0:
            continue
        model.mat_rgba[material] = 1.0
        model.mat_specular[material] = 0.0
        model.mat_emission[material] = 0.2  # or it would be darker the flatter it is seen
        model.mat_texuniform[material] = True
        model.mat_texrepeat[material] = 1.0 / _PERIOD
        texture = model.mat_texid[material, mujoco.mjtTextureRole.mjTEXROLE_RGB]
        if texture >= 0:
            _repaint(model, int(texture), _FLOOR)
    for sky in np.flatnonzero(model.tex_type == mujoco.mjtTexture.mjTEXTURE_SKYBOX):
        _repaint(model, int(sky), _SKY)


def _repaint(model: mujoco.MjModel, texture: int, tones: NDArray[Any]) -> None:
    """Replace a texture's darkest and lightest grey by two colours, and what lies between."""
    start, channels = model.tex_adr[texture], model.tex_nchannel[texture]
    size = model.tex_height[texture] * model.tex_width[texture] * channels
    pixels = model.tex_data[start : start + size].reshape(-1, channels)
    grey = pixels[:, :3].mean(1)
    share = (grey - grey.min()) / max(np.ptp(grey), 1.0)
    pixels[:, :3] = tones[0] + share[:, None] * (tones[1] - tones[0])
