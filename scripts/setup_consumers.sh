#!/bin/sh
# Makes the environment of `make test-consumers`: the libraries that read what trnbench writes for
# other programs. About 400 MB are downloaded and 1 GB of disk used; torch is not needed.
#
# PYTHON          Python 3.11 or newer; by default python3
# VENV_CONSUMERS  the environment to make; by default .venv-consumers
set -eu

PYTHON=${PYTHON:-python3}
VENV_CONSUMERS=${VENV_CONSUMERS:-.venv-consumers}

# Versions that the tests passed with.
READERS="mlflow-skinny==3.17.2 wandb==0.31.0 tensorboardX==2.6.5 tensorboard==2.21.0 mlperf-logging==4.1.68 pyarrow==26.0.1"
TESTS="pytest pytest-timeout hypothesis jsonschema prometheus_client"

cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n       %s\n' "$1" "$2" >&2
    exit 2
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$PYTHON is no Python 3.11 or newer" "name one: make test-consumers PYTHON=/path/to/python3"

NOW=$(cksum scripts/setup_consumers.sh pyproject.toml constraints.txt; "$PYTHON" -c 'import sys; print(sys.prefix, sys.version)')
[ "$NOW" != "$(cat "$VENV_CONSUMERS/ready" 2>/dev/null)" ] || exit 0

rm -rf "$VENV_CONSUMERS"
"$PYTHON" -m venv "$VENV_CONSUMERS" ||
    fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"
echo "setup: installing what reads our files, about 400 MB"
# shellcheck disable=SC2086 # lists of words
"$VENV_CONSUMERS/bin/python" -m pip install --quiet --disable-pip-version-check \
    --constraint constraints.txt $READERS $TESTS openpyxl --editable '.[reports]' ||
    fail "pip could not install them" "see its words above; is there a network, or an index set for pip?"
printf '%s\n' "$NOW" > "$VENV_CONSUMERS/ready"
