#!/bin/sh
# Makes the environment of `make test-jobs`: what checks the jobs that `trnbench launch` writes, by the
# engines' own schemas and client. About 150 MB are downloaded and 450 MB of disk used.
#
# PYTHON     Python 3.11 or newer; by default python3
# VENV_JOBS  the environment to make; by default .venv-jobs
set -eu

PYTHON=${PYTHON:-python3}
VENV_JOBS=${VENV_JOBS:-.venv-jobs}

# Versions that the tests passed with. SkyPilot pins much, so constraints.txt does not hold here.
CHECKERS="kubernetes-validate==1.37.0 kubeflow-trainer-api==2.3.0 skypilot==0.14.1"
TESTS="pytest==9.1.1 pytest-timeout==2.4.0 hypothesis==6.170.15"

cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n       %s\n' "$1" "$2" >&2
    exit 2
}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "$PYTHON is no Python 3.11 or newer" "name one: make test-jobs PYTHON=/path/to/python3"

NOW=$(cksum scripts/setup_jobs.sh pyproject.toml; "$PYTHON" -c 'import sys; print(sys.prefix, sys.version)')
[ "$NOW" != "$(cat "$VENV_JOBS/ready" 2>/dev/null)" ] || exit 0

rm -rf "$VENV_JOBS"
"$PYTHON" -m venv "$VENV_JOBS" ||
    fail "$PYTHON has no venv module" "on Debian and Ubuntu: apt install python3-venv"
echo "setup: installing what checks jobs, about 150 MB"
# shellcheck disable=SC2086 # lists of words
"$VENV_JOBS/bin/python" -m pip install --quiet --disable-pip-version-check \
    $CHECKERS $TESTS --editable . ||
    fail "pip could not install them" "see its words above; is there a network, or an index set for pip?"
printf '%s\n' "$NOW" > "$VENV_JOBS/ready"
