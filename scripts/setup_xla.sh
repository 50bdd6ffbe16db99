#!/bin/sh
# Makes the environment of `make test-xla`: torch 2.9 and torch-xla on its CPU client.
#
# About 1.0 GB is downloaded and 2.1 GB of disk used. The public torch 2.9.0 for Linux is built for
# CUDA and asks for 3 GB of CUDA libraries that a CPU client never calls: three small ones are
# installed, and in the place of the others stand empty libraries that abort when they are called.
#
# PYTHON    Python 3.11, 3.12 or 3.13, those that torch-xla 2.9.0 is built for; by default python3
# VENV_XLA  the environment to make; by default .venv-xla
set -eu

PYTHON=${PYTHON:-python3}
VENV_XLA=${VENV_XLA:-.venv-xla}

TORCH="torch==2.9.0 torch_xla==2.9.0"
CUDA="nvidia-cuda-runtime-cu12==12.8.90 nvidia-cuda-cupti-cu12==12.8.90 nvidia-cufile-cu12==1.13.1.3"
# What the two import; pip is not let to resolve them, or it would fetch all of CUDA.
NEEDS="absl-py numpy pyyaml requests filelock fsspec jinja2 networkx sympy typing_extensions setuptools"

# package folder : soname, of the libraries that are made
STUBS="cublas:libcublas.so.12 cublas:libcublasLt.so.12 cudnn:libcudnn.so.9
    cusparse:libcusparse.so.12 cusparselt:libcusparseLt.so.0 cufft:libcufft.so.11
    curand:libcurand.so.10 nccl:libnccl.so.2 nvshmem:libnvshmem_host.so.3
    cusolver:libcusolver.so.11"

cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n       %s\n' "$1" "$2" >&2
    exit 2
}

[ "$(uname -sm)" = "Linux x86_64" ] ||
    fail "torch-xla 2.9.0 is built for Linux on x86-64, and this is $(uname -sm)" "use such a machine"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null ||
    fail "$PYTHON is no Python 3.11, 3.12 or 3.13" "name one: make test-xla PYTHON=/path/to/python3"
for tool in gcc nm; do
    command -v "$tool" >/dev/null ||
        fail "$tool is not here" "on Debian and Ubuntu: apt install gcc binutils"
done

NOW=$(cksum scripts/setup_xla.sh pyproject.toml; "$PYTHON" -c 'import sys; print(sys.prefix, sys.version)')
[ "$NOW" != "$(cat "$VENV_XLA/ready" 2>/dev/null)" ] || exit 0

rm -rf "$VENV_XLA"
"$PYTHON" -m venv "$VENV_XLA" ||
    fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"

install() {
    "$VENV_XLA/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ||
        fail "pip could not install $*" "see its words above; is there a network, or an index set for pip?"
}

echo "setup: installing torch 2.9.0 and torch-xla 2.9.0, about 1 GB"
# shellcheck disable=SC2086 # lists of words
install --constraint constraints.txt $NEEDS pytest pytest-timeout hypothesis --editable .
# Last, so that pip does not complain of what they lack on purpose.
# shellcheck disable=SC2086
install --no-deps $TORCH $CUDA

echo "setup: making empty CUDA libraries"
SITE=$("$VENV_XLA/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
WORK=$VENV_XLA/stubs
mkdir -p "$WORK"
# torch's libraries bind functions when they are called; they only have to exist.
nm -D --undefined-only "$SITE"/torch/lib/*.so 2>/dev/null |
    awk '{print $NF}' | sed 's/@.*//' |
    grep -E '^(cublas|cudnn|cusparse|cufft|curand|nccl|nvshmem|cusolver)' | sort -u > "$WORK/names"
[ -s "$WORK/names" ] || fail "torch 2.9.0 has no CUDA libraries in $SITE/torch/lib" "report this"
{
    echo '#include <stdlib.h>'
    sed 's/.*/void &(void) { abort(); }/' "$WORK/names"
} > "$WORK/all.c"
echo 'static int nothing;' > "$WORK/none.c"
source=all.c
for stub in $STUBS; do
    folder=$SITE/nvidia/${stub%%:*}/lib
    soname=${stub##*:}
    mkdir -p "$folder"
    gcc -shared -fPIC -w -Wl,-soname,"$soname" -o "$folder/$soname" "$WORK/$source" ||
        fail "gcc could not make $soname" "see its words above"
    source=none.c # the first holds all names
done

PJRT_DEVICE=CPU "$VENV_XLA/bin/python" -c 'import torch, torch_xla; torch.zeros(1, device=torch_xla.device())' ||
    fail "torch-xla cannot be used" "see its words above"
printf '%s\n' "$NOW" > "$VENV_XLA/ready"
