#!/bin/sh
# Sets up .venv once, and again when pyproject.toml or constraints.txt change or the folder moved.
#
#   PYTHON=/path/to/python3.12      which Python to build on (3.11 to 3.13)
#   PRETRAIN_TORCH=cpu|cuda|skip    which torch: without or with CUDA, or the one PYTHON already sees
#   AUTOTELIC_TORCH_INDEX=address   where CPU builds are found: the wheel index named on PyTorch's site
#
# Needs only POSIX sh, Python and its venv module. All messages go to stderr. Exit code 3: the
# machine lacks something, and the last line says what to do. An interrupted set-up goes on where
# it was: the stamp that says "done" is written last, by rename.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/autotelic-stamp
log=$venv/autotelic-setup.log
torch=${PRETRAIN_TORCH:-auto}

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "set-up: $*"
    exit 3
}

case $torch in
    auto | cpu | cuda | skip) ;;
    *) fail "PRETRAIN_TORCH=$torch is none of cpu, cuda, skip" ;;
esac

# What the installed environment depends on. A choice that the user does not state is kept.
digest=$(cat -- "$root/pyproject.toml" "$root/constraints.txt" | cksum)
wanted() {
    printf 'files %s\nroot %s\ntorch %s\npython %s\n' "$digest" "$root" "$1" "$2"
}
recorded() { sed -n "s/^$1 //p" "$stamp" 2>/dev/null || true; }
done_already() {
    [ -f "$stamp" ] && [ -x "$venv/bin/python" ] || return 1
    kept_torch=$(recorded torch)
    kept_python=$(recorded python)
    [ "$torch" = auto ] || kept_torch=$torch
    [ "$(cat -- "$stamp")" = "$(wanted "$kept_torch" "${PYTHON:-$kept_python}")" ]
}
if done_already; then exit 0; fi

# Which Python: named by the user, or the first of the usual names that will do.
fits='import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
version='import sys; print("%d.%d.%d" % sys.version_info[:3])'
python=
if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.13 python3.12 python3.11 python
fi
for name in "$@"; do
    if command -v "$name" >/dev/null 2>&1 && "$name" -c "$fits" >/dev/null 2>&1; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    name=${PYTHON:-python3}
    found=$("$name" -c "$version" 2>/dev/null) || fail "no working Python: $name does not run." \
        "Install Python 3.11 to 3.13 (on Debian or Ubuntu: apt install python3 python3-venv)" \
        "or name one: PYTHON=/path/to/python3.12"
    case $found in
        3.11.* | 3.12.* | 3.13.*)
            fail "$name is Python $found but lacks its venv module." \
                "On Debian or Ubuntu: apt install python${found%.*}-venv; then run this again"
            ;;
    esac
    fail "$name is Python $found; this needs 3.11, 3.12 or 3.13." \
        "Install one, or name one you have: PYTHON=/path/to/python3.12"
fi

# One set-up at a time in this folder: hold a lock on pyproject.toml, that the system drops with us.
if [ "${AUTOTELIC_LOCKED:-}" != "$root" ]; then
    AUTOTELIC_LOCKED=$root exec "$python" -c '
import fcntl, os, sys
path = sys.argv[1] + "/pyproject.toml"
lock = os.open(path, os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY)
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print("another shell is setting up this folder; waiting for it", file=sys.stderr)
    fcntl.flock(lock, fcntl.LOCK_EX)
os.set_inheritable(lock, True)
os.execv("/bin/sh", ["/bin/sh", sys.argv[1] + "/scripts/bootstrap.sh"])
' "$root"
fi

[ -w "$root" ] || fail "cannot write to $root: clone into a folder of your own"

# Which torch, and why.
if [ "$torch" = auto ] && [ -f "$stamp" ]; then torch=$(recorded torch); fi
why='as asked'
if [ "$torch" = auto ]; then
    if [ -e /proc/driver/nvidia/version ] || nvidia-smi -L >/dev/null 2>&1; then
        torch=cuda why='an NVIDIA driver is here'
    else
        torch=cpu why='no NVIDIA driver here'
    fi
fi
pinned=$(sed -n 's/^torch==//p' "$root/constraints.txt")
case $torch in
    cpu) mib=2500 ;;
    cuda) mib=9000 ;;
    skip) mib=1500 ;;
esac
if [ ! -d "$venv" ]; then
    free=$(($(df -Pk "$root" | awk 'NR == 2 { print $4 }') / 1024))
    [ "$free" -ge "$mib" ] || fail "about $mib MiB are needed in $root and $free MiB are free"
    say "Setting up once in $venv (a few minutes; $mib MiB)."
else
    say "Bringing $venv up to date."
fi
began=$(date +%s)

# On a terminal, show that time passes: pip is kept quiet, and torch is large.
ticker=
tick() {
    if [ -t 2 ]; then
        (
            n=0
            while kill -0 "$$" 2>/dev/null; do
                printf '\r  %s %ds ' "$1" "$n" >&2
                sleep 1
                n=$((n + 1))
            done
        ) &
        ticker=$!
    else
        say "  $1"
    fi
}
tock() {
    if [ -n "$ticker" ]; then
        kill "$ticker" 2>/dev/null || true
        wait "$ticker" 2>/dev/null || true
        ticker=
        printf '\n' >&2
    fi
}
trap tock EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

pip() {
    PIP_ROOT_USER_ACTION=ignore "$venv/bin/python" -m pip install --quiet --no-input \
        --disable-pip-version-check "$@" >>"$log" 2>&1
}
stop() {
    tock
    grep -v 'is ignored: it is neither' "$log" | tail -n 12 >&2 || true
    fail "$1 could not be installed (full log: $log). Run the same command again to go on."
}

isolation=
[ "$torch" != skip ] || isolation=--system-site-packages
kept_isolation=$(sed -n 's/^include-system-site-packages = true$/--system-site-packages/p' \
    "$venv/pyvenv.cfg" 2>/dev/null) || true
same=$("$python" -c "$version")
tick "Python $same ($python)"
if [ "$("$venv/bin/python" -c "$version" 2>/dev/null)" != "$same" ] ||
    [ "$kept_isolation" != "$isolation" ] ||
    ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear $isolation "$venv" >&2 || fail "$python -m venv did not work"
fi
rm -f "$stamp"
: >"$log"

# What a killed set-up left half installed would pass for installed: forget it, pip redoes it.
"$venv/bin/python" - <<'PY' || fail "$venv is broken: delete it and run this again"
import csv
import shutil
import sysconfig
from pathlib import Path

site = Path(sysconfig.get_paths()["purelib"])
for leftover in site.glob("~*"):
    shutil.rmtree(leftover, ignore_errors=True)
for info in site.glob("*.dist-info"):
    record = info / "RECORD"
    rows = list(csv.reader(record.read_text().splitlines())) if record.is_file() else []
    if not rows or not all((site / row[0]).exists() for row in rows if "__pycache__" not in row[0]):
        shutil.rmtree(info)
PY
pip -c "$root/constraints.txt" --upgrade pip setuptools || stop "pip"
tock

constraints=$root/constraints.txt
case $torch in
    cpu)
        tick "torch $pinned, CPU build, about 200 MB ($why; PRETRAIN_TORCH=cuda for the other)"
        if [ "$(uname -s)" = Darwin ]; then
            pip "torch==$pinned" || stop torch
        elif ! pip ${AUTOTELIC_TORCH_INDEX:+--extra-index-url "$AUTOTELIC_TORCH_INDEX"} \
            "torch==$pinned+cpu"; then
            grep -q 'No matching distribution' "$log" || stop torch
            tock
            say "  Your pip finds no CPU build, so this is the ordinary one, which brings CUDA along:" \
                "some 3 GB to download. To avoid that, press Ctrl-C, set AUTOTELIC_TORCH_INDEX to the" \
                "CPU wheel index named on PyTorch's site, and run this again."
            tick "torch $pinned"
            pip "torch==$pinned" || stop torch
        fi
        ;;
    cuda)
        tick "torch $pinned with CUDA, some 3 GB ($why; PRETRAIN_TORCH=cpu for the small one)"
        pip "torch==$pinned,!=$pinned+cpu" || stop "torch with CUDA"
        ;;
    skip)
        tick "torch as $python has it ($why)"
        "$venv/bin/python" -c 'import torch' >/dev/null 2>&1 || fail "PRETRAIN_TORCH=skip, but" \
            "$python has no torch of its own. If yours is in a virtual environment, activate" \
            "that and run: pip install -e '$root'"
        constraints=$venv/autotelic-constraints.txt
        sed '/^torch==/d' "$root/constraints.txt" >"$constraints"
        ;;
esac
tock

tick "MuJoCo, dm_control, Gymnasium, Hydra and the toolkit itself"
pip -c "$constraints" -e "$root[test]" || stop "the toolkit"
tock

wanted "$torch" "${PYTHON:-$(command -v "$python")}" >"$stamp.new"
mv -f -- "$stamp.new" "$stamp"
say "Set up in $(($(date +%s) - began)) s. From now on $venv/bin/pretrain works from anywhere, too."
