#!/bin/sh
# Makes the environment of `make docs`: the site's builder, about 100 MB, apart from all else.
#
# PYTHON     the interpreter to start from; by default python3
# VENV_DOCS  the environment to make; by default .venv-docs
set -eu

PYTHON=${PYTHON:-python3}
VENV_DOCS=${VENV_DOCS:-.venv-docs}
BUILDER=zensical==0.0.73

cd "$(dirname "$0")/.."
[ "$BUILDER" != "$(cat "$VENV_DOCS/ready" 2>/dev/null)" ] || exit 0
rm -rf "$VENV_DOCS"
"$PYTHON" -m venv "$VENV_DOCS"
"$VENV_DOCS/bin/python" -m pip install --quiet --disable-pip-version-check "$BUILDER" || {
    printf 'setup: pip could not install %s\n       see its words above\n' "$BUILDER" >&2
    exit 2
}
printf '%s\n' "$BUILDER" > "$VENV_DOCS/ready"
