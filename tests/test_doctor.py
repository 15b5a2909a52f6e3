"""doctor and the choice of what draws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from logbook import doctor, gl
from logbook.errors import Exit, UserError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """An empty cache and no answer from an earlier test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):  # set, so that both are put back afterwards
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(gl, "_switch", lambda: None)  # other tests of this process may draw
    gl.choose.cache_clear()
    yield tmp_path / "autotelic" / "gl.json"
    gl.choose.cache_clear()


def test_report(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "logbook.doctor", "--json", str(tmp_path / "runs")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    found = {f["what"]: f for f in report["findings"]}
    assert set(found) >= {"Python", "packages", "memory", "torch", "GPU", "worlds", "dm_control"}
    assert set(found) >= {"OpenGL", "ffmpeg", "run folder", "disk speed"}
    assert "3.1" in found["Python"]["found"]
    assert report["fit"] == all(f["verdict"] != "fail" for f in report["findings"])
    assert done.returncode == (Exit.DONE if report["fit"] else Exit.SETUP)
    assert all(f["remedy"] for f in report["findings"] if f["verdict"] != "ok")
    assert not (tmp_path / "runs").exists()


def test_an_unwritable_run_folder_fails(tmp_path):
    (tmp_path / "file").write_text("")
    (finding,) = doctor._disk(tmp_path / "file" / "runs")
    assert finding.verdict == "fail" and "Not a directory" in finding.found and finding.remedy


@pytest.mark.parametrize(
    ("wanted", "verdict", "words"),
    [
        (["numpy>=2"], "ok", "all 1 within"),
        (["numpy<1", "mujoco"], "warn", "numpy 2"),
        (["a-package-of-nobody>=3"], "fail", "a-package-of-nobody is missing"),
    ],
)
def test_versions(monkeypatch, wanted, verdict, words):
    monkeypatch.setattr(doctor, "_requirements", lambda: wanted)
    (finding,) = doctor._packages()
    assert finding.verdict == verdict and words in finding.found


def test_the_clash_of_dm_control_with_mujoco_4_is_known(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda name: "4.0.0")
    (finding,) = doctor._suite()
    assert finding.verdict == "fail" and "mujoco<4" in finding.remedy


def test_a_broken_library_hides_nothing():
    def check():
        yield doctor.Finding("a", "ok", "b")
        raise AttributeError("gone\nfor good")

    first, second = doctor._safely(check)
    assert first.verdict == "ok" and second.verdict == "fail"
    assert second.found == "AttributeError: gone"


def test_nothing_draws(fresh, monkeypatch):
    """glfw without a display cannot draw: one line says what to install, and it is remembered."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setitem(gl._TRIED, "Linux", ("glfw",))
    found = gl.choose()
    assert found.name is None and "libosmesa6" in found.why and "\n" not in found.why
    assert os.environ["MUJOCO_GL"] == "disable"
    monkeypatch.setattr(gl, "probe", lambda name: pytest.fail("asked again"))
    gl.choose.cache_clear()
    monkeypatch.delenv("MUJOCO_GL")
    assert gl.choose() == found


def test_what_draws_is_remembered_and_mujoco_takes_it_up(fresh):
    """In a child, where mujoco is imported first, as by the worlds, and drawing comes later."""
    code = """
import mujoco
from logbook import gl
found = gl.choose()
print(found.name)
if found.name:
    spec = "<mujoco><worldbody><geom size='1'/></worldbody></mujoco>"
    model = mujoco.MjModel.from_xml_string(spec)
    print(mujoco.Renderer(model, 32, 32).render().shape)
"""
    env = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY")}
    env |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    name, *shape = done.stdout.split("\n", 1)
    assert name in ("egl", "osmesa", "None"), done.stderr
    assert name == "None" or shape == ["(32, 32, 3)\n"], done.stderr
    (entry,) = json.loads(fresh.read_text()).values()
    assert str(entry["name"]) == name


def test_a_spoilt_cache_is_asked_again(fresh, monkeypatch):
    monkeypatch.setattr(gl, "probe", lambda name: (50.0, "") if name == "osmesa" else (0.0, "no"))
    for text in ("", "[]", "{", '{"x": 1}'):
        fresh.parent.mkdir(exist_ok=True)
        fresh.write_text(text)
        gl.choose.cache_clear()
        os.environ.pop("MUJOCO_GL", None)
        assert gl.choose() == gl.Backend("osmesa", "it drew a picture", 50.0)


def test_mujoco_gl_is_honoured(fresh, monkeypatch):
    tried = []
    monkeypatch.setattr(gl, "probe", lambda name: tried.append(name) or (0.0, "broken"))
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert gl.choose().name is None and tried == ["osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "off")
    gl.choose.cache_clear()
    assert "MUJOCO_GL=off" in gl.choose().why and tried == ["osmesa"]
    monkeypatch.setenv("MUJOCO_GL", "opengl")
    with pytest.raises(UserError, match="MUJOCO_GL=opengl: want one of") as e:
        gl.check_setting()
    assert e.value.code == Exit.SETUP


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (
            "raise AttributeError(\"'NoneType' object has no attribute 'eglQueryString'\")",
            "its library is missing or too old",
        ),
        ("raise ImportError('Unable to load EGL library')", "its library is missing or too old"),
        ("raise RuntimeError('no display: none')", "no display: none"),
        ("assert False, 'it draws nothing'", "it draws nothing"),
        ("import sys; sys.exit('driver: none')", "driver: none"),
    ],
)
def test_why_in_words(fresh, monkeypatch, last, told):
    """Without a library, PyOpenGL's own tracebacks name attributes of None."""
    monkeypatch.setattr(gl, "_PROBE", last)
    assert gl.probe("egl") == (0.0, told)
    monkeypatch.setitem(gl._TRIED, "Linux", ("egl",))
    assert gl.choose().why == f"no OpenGL draws (egl: {told}): {gl.REMEDY}"


def test_a_crashing_driver_is_survived(monkeypatch):
    monkeypatch.setattr(gl, "_PROBE", "import os; os.abort()")
    assert gl.probe("egl") == (0.0, "its driver crashed (signal 6)")


@pytest.mark.parametrize("value", ["osmesa", "egl", "glfw", "glx", "disable", ""])
def test_physics_needs_no_opengl(tmp_path, value):
    """Under some, mujoco's own import fails where the library or the driver is missing."""
    code = (
        "from logbook.gl import check_setting, choose\ncheck_setting()\n"
        "import mujoco.batch, envs.hopper\nprint(choose().name or choose().why)"
    )
    env = {**os.environ, "MUJOCO_GL": value, "XDG_CACHE_HOME": str(tmp_path)}
    env = {k: v for k, v in env.items() if k not in ("PYOPENGL_PLATFORM", "DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1, done.stderr


@pytest.mark.parametrize("drawn", ["", "disable"])
def test_a_task_that_observes_pictures_works_or_says_what_is_missing(drawn):
    code = (
        "from logbook.compose import compose\nfrom logbook.heritage import world_factory\n"
        "words = 'env=dmc env.domain=manipulation env.task=reach_site_vision'.split()\n"
        "try:\n    world = world_factory(compose('pretrain', words).config)(num_envs=1)\n"
        "    print(world.reset(seed=0)[0].shape)\n"
        "except Exception as e:\n    print(type(e).__name__, e)"
    )
    env = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "MUJOCO_GL")}
    env |= {"MUJOCO_GL": drawn} if drawn else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    lacks = "UserError env.task=reach_site_vision observes pictures, and no OpenGL draws"
    draws = not drawn and gl.choose().name is not None
    assert done.stdout.startswith("(1, " if draws else lacks), done.stdout + done.stderr


def test_what_it_found_moves_no_cursor():
    said = doctor._line(doctor.Finding("OpenGL", "fail", "MUJOCO_GL=\x1b[2J", "unset \x9b31m"))
    assert said.count("\n") == 2 and "\x1b" not in said and "\x9b" not in said
