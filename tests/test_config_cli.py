"""The commands as a person meets them: exit codes, one line on stderr, quickly."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from logbook import cli
from logbook.errors import Exit, UserError

ROOT = Path(__file__).resolve().parent.parent

STAGE = """
import sys
from pathlib import Path
from logbook.cli import command
def stage(config, run_dir, overrides):
{body}
command("pretrain", stage)
"""


def shell(*words, cwd, body=None, **env):
    """`pretrain WORDS`, or with another stage in place of the training: (code, out, err, s)."""
    start = ["-m", "pretrain"]
    if body is not None:
        start = ["-c", STAGE.format(body="".join(f"    {b}\n" for b in body.splitlines()))]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *start, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr, time.perf_counter() - began


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["skil=diayn"], 2, "did you mean skill?"),
        (["skill=dyan"], 2, "did you mean skill=diayn?"),
        (["skill.num_skills=abc"], 2, "skill.num_skills=abc"),
        (["--nonsense"], 2, "--nonsense"),
        (["env=gym", "env.id=Nope-v0"], 2, "env.id=Nope-v0"),
        (["env=gym", "env.id=CliffWalking-v1", "env.allow_import=perhaps"], 2, "allow_import"),
        (["device=cuda:99"], 4, "device=cuda:99"),
        (["hydra.run.dir=/proc/nowhere"], 3, "run folder /proc/nowhere"),
        (["-m", "seed=0,1", "skill=dyan"], 2, "did you mean skill=diayn?"),
        (["--config-dir", "nowhere"], 2, "nowhere"),
    ],
)
def test_mistakes_are_one_line_with_a_code(tmp_path, words, code, told):
    if words[0].startswith("device") and Path("/dev/nvidiactl").exists():
        pytest.skip("this machine may have that GPU")
    found, out, err, seconds = shell(*words, cwd=tmp_path)
    assert found == code, err
    assert err.startswith("error: ") and err.count("\n") == 1 and told in err
    assert out == "" and seconds < 10  # 3 s on a machine with nothing else to do
    assert list(tmp_path.iterdir()) == []


def test_help_needs_neither_torch_nor_mujoco_nor_hydra(tmp_path):
    code = (
        "import sys\nfrom logbook.cli import guard, _command\n"
        "_command('pretrain', None, ['--help'])\n"
        "print([m for m in ('torch', 'mujoco', 'hydra', 'numpy') if m in sys.modules])"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("[]\n"), done.stderr
    for word in ("skill=", "*diayn", "metra", "*cheetah", "steps=", "num_envs=", "-m", "resume"):
        assert word in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_waiting_threads_spin_briefly_unless_told_otherwise(tmp_path):
    body = "import os\nassert 'torch' not in sys.modules\nprint(os.environ['GOMP_SPINCOUNT'])"
    code, out, _, _ = shell("name=a", cwd=tmp_path, body=body, GOMP_SPINCOUNT="7")
    assert (code, out) == (0, "7\n")
    unset = "import os; os.environ.pop('GOMP_SPINCOUNT', None)\n"
    unset += "from logbook.cli import guard\n"
    unset += "guard(lambda: print(os.environ['GOMP_SPINCOUNT']))"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", unset], env=env, capture_output=True, text=True)
    assert done.stdout == "20000\n"


def test_the_reader_of_help_may_leave(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = f"{sys.executable} -m pretrain --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_cfg_prints_the_whole_config(tmp_path):
    code, out, err, _ = shell("--cfg", "job", "skill=rnd", "seed=4", cwd=tmp_path)
    assert (code, err) == (0, "") and "seed: 4\n" in out and "name: rnd\n" in out


def test_a_run_gets_its_config_folder_and_words(tmp_path):
    body = "print(config['seed'], run_dir, overrides, 'torch' in sys.modules)"
    code, out, err, _ = shell("seed=3", "env=point", cwd=tmp_path, body=body)
    assert (code, err) == (0, "")
    assert out == "3 runs/diayn-point/base/3 ('seed=3', 'env=point') False\n"
    _, out, _, _ = shell("hydra.run.dir=here", cwd=tmp_path, body=body)
    assert out.split()[1] == "here"


def test_faults_keep_their_traceback_and_say_where_the_run_is(tmp_path):
    (tmp_path / "r/checkpoints/step-000000100").mkdir(parents=True)
    body = "1 / 0"
    code, _, err, _ = shell("hydra.run.dir=r", cwd=tmp_path, body=body)
    assert code == 1 and "Traceback" in err
    last = err.splitlines()[-1]
    assert last.startswith("error: ZeroDivisionError") and "in r; " in last
    assert "goes on from the last checkpoint" in last
    code, _, err, _ = shell("hydra.run.dir=new", cwd=tmp_path, body=body)
    assert "nothing was saved" in err.splitlines()[-1]


def test_ctrl_c_before_anything_was_saved(tmp_path):
    body = "import os, signal, time\n"
    body += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in background
    body += "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    code, _, err, _ = shell(cwd=tmp_path, body=body)
    assert code == 128 + signal.SIGINT
    assert err.strip() == "interrupted; nothing was saved"


def test_a_sweep_goes_on_after_a_failed_run_and_keeps_its_code(tmp_path):
    body = (
        "print(config['seed'], run_dir)\n"
        "from logbook.errors import UserError, Exit\n"
        "if config['seed'] == 0: raise UserError('no luck', Exit.CAPABILITY)"
    )
    words = ("-m", "seed=0,1", "agent.tau=0.5", "steps=9")
    code, out, err, _ = shell(*words, cwd=tmp_path, body=body)
    assert code == 4
    assert "1 runs/diayn-cheetah/base/1" in out
    assert err.count("\n") == 1 and err.startswith("error: run 1 of 2 (seed=0") and "no luck" in err


def test_a_sweep_stops_when_asked_to(tmp_path):
    body = (
        "print(config['seed'])\n"
        "from logbook.errors import UserError, Exit\n"
        "raise UserError('stopped and saved', Exit.AGAIN)"
    )
    code, out, err, _ = shell("-m", "seed=7,8", cwd=tmp_path, body=body)
    assert code == 75 and "7\n" in out and "8\n" not in out and "stopped and saved" in err


def test_disk_errors_become_one_line(tmp_path, capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    assert cli.report(full, tmp_path) == Exit.SETUP
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "/x/y: No space left" in err and "make room" in err
    with pytest.raises(UserError, match="disk is full.*make room") as e:
        cli.writable(tmp_path / "a/b", megabytes=10**12)
    assert e.value.code == Exit.SETUP
    cli.writable(tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written .Not a directory"):
        cli.writable(tmp_path / "file" / "run")


def test_a_path_that_no_disk_can_hold_is_one_line(capsys):
    with pytest.raises(OSError) as e:
        Path("a" * 300, "config.yaml").stat()
    assert cli.report(e.value) == Exit.CONFIG
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and len(err) < 150 and "too long; check that path" in err


def test_read_only_folder(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written .Permission denied"):
        cli.writable(tmp_path / "run")


@pytest.mark.parametrize("value", ["nonsense", "egl-"])
def test_a_wrong_mujoco_gl_is_told_before_mujoco_is_imported(tmp_path, value):
    code, _, err, _ = shell(cwd=tmp_path, body="pass", MUJOCO_GL=value)
    assert code == 3 and err.count("\n") == 1 and f"MUJOCO_GL={value}" in err


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("libtorch_cpu.so: failed to map segment from shared object", Exit.CAPABILITY),
        ("libx.so: cannot allocate memory in static TLS block", Exit.CAPABILITY),
        ("No module named 'x'", 1),
    ],
)
def test_a_library_that_memory_is_too_small_for_is_one_line(capsys, said, code):
    assert cli.report(ImportError(said)) == code
    told = capsys.readouterr().err
    assert ("Traceback" in told or "ImportError:" in told) == (code == 1)
