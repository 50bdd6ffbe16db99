#!/bin/sh
# Makes the environment that `make` uses, beside the torch that is already here.
#
#   scripts/setup.sh run     what `make bench` needs: trnbench and a torch
#   scripts/setup.sh dev     that, and what `make test` and `make check` need
#
# PYTHON  the interpreter to start from; by default python3 of the active environment
# VENV    the environment to make; by default .venv
# TORCH   what pip installs where $PYTHON has no torch
#
# A torch that $PYTHON has is used where it lies: a .pth file puts its folder behind ours on the
# search path, and a constraint pins its version, so that nothing is copied, downloaded or replaced.
#
# $VENV/.trnbench holds what the environment was made from. Nothing is done while that is so still.
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

tell() { "$PYTHON" -c "import os, sys, sysconfig; print($1)"; }

case $WHAT in
    run) WANTED=. ;;
    dev) WANTED=.[dev] ;;
    *) fail "$WHAT: is neither run nor dev" "type scripts/setup.sh run, or scripts/setup.sh dev" ;;
esac

# --- the folder, and the interpreter to start from -----------------------------------------------

STATE=$VENV/.trnbench
[ -d "$STATE" ] || [ -z "$(ls -A "$VENV" 2>/dev/null)" ] ||
    fail "$VENV: is not an environment that make made" "remove it, or name another place: make VENV=.venv-make"

VERSION=$(tell '"%d.%d.%d" % sys.version_info[:3]' 2>/dev/null) ||
    fail "$PYTHON: is no Python that starts" "install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON is Python $VERSION, too old for trnbench" "it needs 3.11 or newer; name one: make PYTHON=/path/to/python3"

mkdir -p "$STATE"
if [ "$(tell 'os.path.realpath(sys.prefix)')" = "$(cd "$VENV" && pwd -P)" ]; then
    # Our own environment is active. What it was made from is what it is made from.
    PYTHON=$(cat "$STATE/python" 2>/dev/null) && VERSION=$(tell '"%d.%d.%d" % sys.version_info[:3]') ||
        fail "$VENV: is active, and what it was made from is gone" "type: deactivate; then make again"
fi

# --- is it as it should be? ----------------------------------------------------------------------

THERE=$("$PYTHON" scripts/find_torch.py "$STATE" constraints.txt)
BASE="$(tell sys.prefix) $VERSION torch=$THERE for $(pwd -P)"
NOW=$(
    echo "$BASE ${THERE:-$TORCH}"
    cksum scripts/setup.sh scripts/find_torch.py pyproject.toml constraints.txt
    cat "$STATE/pins.txt" "$STATE/folders.txt"
)
[ "$NOW" != "$(cat "$STATE/ready-$WHAT" 2>/dev/null)" ] || exit 0

# --- make it -------------------------------------------------------------------------------------

if [ "$BASE" != "$(cat "$STATE/base" 2>/dev/null)" ] || [ -e "$STATE/unfinished" ]; then
    # Another base, another place, or an interruption: nothing of it can be relied on.
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"
    rm -f "$STATE/base" "$STATE"/ready-*
    find "$VENV" -mindepth 1 -maxdepth 1 ! -name .trnbench -exec rm -rf {} +
    "$PYTHON" -m venv "$VENV"
    tell sys.executable > "$STATE/python"
    tell 'sysconfig.get_path("scripts")' > "$STATE/tools"
    printf '%s\n' "$BASE" > "$STATE/base"
fi

install() { # what it is for people, then arguments of pip
    name=$1
    shift
    echo "setup: installing $name"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "$@" && return
    [ $? -gt 128 ] || rm -f "$STATE/unfinished" # if it was not killed, pip has cleaned up
    fail "pip could not install $name" "see its words above; is there a network, or an index set for pip?"
}

: > "$STATE/unfinished"
if [ -n "$THERE" ]; then
    echo "setup: using the torch $THERE of $(tell sys.prefix) where it lies"
    # The name sorts last, so that what is installed here comes before what is there.
    cp "$STATE/folders.txt" \
        "$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_base_torch.pth"
else
    install "$TORCH" "$TORCH"
fi
install "trnbench and what it needs" --constraint "$STATE/pins.txt" --editable "$WANTED"

rm -f "$STATE/unfinished"
printf '%s\n' "$NOW" > "$STATE/ready-run"
[ "$WHAT" = run ] || printf '%s\n' "$NOW" > "$STATE/ready-dev"
