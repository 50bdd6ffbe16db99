#!/bin/sh
# Makes the environments of benchmarks/step_speed.py: other trainers, each with the versions it wants.
#
# PYTHON      an interpreter that has torch, which all of them use where it lies; by default python3
# VENV_PEERS  the folder to make them in; by default .venv-peers
#
# litgpt and optimum-benchmark each want other versions of the same libraries than today's
# transformers does, so each is alone. optimum-benchmark 0.6.0 does not start with transformers 5 or
# datasets 5.
set -eu

PYTHON=${PYTHON:-python3}
VENV_PEERS=${VENV_PEERS:-.venv-peers}

cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n       %s\n' "$1" "$2" >&2
    exit 2
}

NOW=$(cksum scripts/setup_peers.sh scripts/find_torch.py; "$PYTHON" -c 'import sys; print(sys.prefix, sys.version)')
[ "$NOW" != "$(cat "$VENV_PEERS/ready" 2>/dev/null)" ] || exit 0

rm -rf "$VENV_PEERS"
mkdir -p "$VENV_PEERS"
: > "$VENV_PEERS/none.txt"
THERE=$("$PYTHON" scripts/find_torch.py "$VENV_PEERS" "$VENV_PEERS/none.txt")
[ -n "$THERE" ] || fail "$PYTHON has no torch" "name one that has: PYTHON=/path/to/python3 scripts/setup_peers.sh"
# What a peer wants of torch's own needs (numpy, sympy, …) is the peer's to say; torch's version is not.
echo "torch==$THERE" > "$VENV_PEERS/torch.txt"

make_environment() { # its name, then what is in it
    name=$1
    shift
    echo "setup: installing $*"
    "$PYTHON" -m venv "$VENV_PEERS/$name" ||
        fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"
    cp "$VENV_PEERS/folders.txt" \
        "$("$VENV_PEERS/$name/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/zz_base_torch.pth"
    "$VENV_PEERS/$name/bin/python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$VENV_PEERS/torch.txt" "$@" ||
        fail "pip could not install $*" "see its words above; is there a network, or an index set for pip?"
}

make_environment hugging_face transformers==5.23.0 accelerate==1.15.0
# torchmetrics, which litgpt brings, imports whatever transformers it sees.
make_environment litgpt litgpt==0.5.13 transformers==5.0.0
if "$PYTHON" -c 'import triton' 2>/dev/null; then # which comes with a torch for GPUs
    make_environment torchtitan torchtitan==0.2.2
fi
make_environment optimum optimum-benchmark==0.6.0 transformers==4.57.6 datasets==4.4.2 accelerate==1.11.0
printf '%s\n' "$NOW" > "$VENV_PEERS/ready"
