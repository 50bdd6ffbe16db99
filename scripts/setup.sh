#!/bin/sh
# Makes the environment that `make` uses, beside the torch that is already here.
#
#   scripts/setup.sh run     what `make bench` needs: trnbench and a torch
#   scripts/setup.sh dev     that, and what `make test` and `make check` need
#
# PYTHON  the interpreter to start from; by default python3 of the active environment
# VENV    the environment to make; by default .venv
# TORCH   what pip is told to install where $PYTHON has no torch
#
# A torch that $PYTHON has is used where it lies: a .pth file puts its folder behind ours on the
# search path, and a constraint pins its version, so that nothing is copied, downloaded or replaced.
set -eu

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
TORCH=${TORCH:-torch==2.13.0}
WHAT=${1:-run}

cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n       %s\n' "$1" "$2" >&2
    exit 2
}

case $WHAT in
    run) WANTED=. ;;
    dev) WANTED=.[dev] ;;
    *) fail "$WHAT: is neither run nor dev" "type scripts/setup.sh run, or scripts/setup.sh dev" ;;
esac

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON: no such command" "install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$PYTHON" --version 2>&1) is too old" "trnbench needs 3.11 or newer; name one: make PYTHON=/path/to/python3"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"

# A half-made environment, left by an interruption, is made again.
if [ ! -e "$VENV/.made" ]; then
    "$PYTHON" -m venv --clear "$VENV"
    : > "$VENV/.made"
fi
INSIDE=$VENV/bin/python

SITE=$("$INSIDE" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
THERE=$("$PYTHON" scripts/find_torch.py "$VENV" constraints.txt)
if [ -n "$THERE" ]; then
    echo "setup: using the torch $THERE of $PYTHON where it lies"
    # The name sorts last, so that what is installed here comes before what is there.
    cp "$VENV/folders.txt" "$SITE/zz_base_torch.pth"
else
    rm -f "$SITE/zz_base_torch.pth"
    "$INSIDE" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null ||
        "$INSIDE" -m pip install --quiet "$TORCH" ||
        fail "pip could not install $TORCH" "see its words above; another torch: make TORCH='torch==2.9.0'"
fi

"$INSIDE" -m pip install --quiet --constraint "$VENV/pins.txt" --editable "$WANTED" ||
    fail "pip could not install $WANTED" "see its words above; is there a network, or an index set for pip?"
