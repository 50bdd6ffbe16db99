#!/usr/bin/env bash
# What action.yml runs: `trnbench compare` from the variables INPUT_*, every report in one call.
# Leaves with the command's own exit code; the step's outputs are set whatever it is.
set -uo pipefail

arguments=()

# Add OPTION and a line of TEXT for each line that is not blank.
add_lines() {
  local option=$1 text=$2 line
  while IFS= read -r line; do
    line="${line#"${line%%[![:space:]]*}"}"
    line="${line%"${line##*[![:space:]]}"}"
    if [[ -n "$line" ]]; then arguments+=("$option=$line"); fi
  done <<< "$text"
}

add_lines --base "$INPUT_BASE"
add_lines --cand "$INPUT_CAND"
add_lines --gate "${INPUT_GATES:-}"
add_lines --allow "${INPUT_ALLOW:-}"
arguments+=("--margin=${INPUT_MARGIN:-2%}")
if [[ "${INPUT_STRICT:-false}" == true ]]; then arguments+=(--strict); fi
if [[ "${INPUT_CONFIRM:-false}" == true ]]; then
  arguments+=(--confirm)
  if [[ -n "${INPUT_PYTHON:-}" ]]; then arguments+=("--python=$INPUT_PYTHON"); fi
fi

reports="${INPUT_REPORTS:-trnbench-reports}"
mkdir -p -- "$reports"
arguments+=(
  "--write=json=$reports/comparison.json"
  "--write=junit=$reports/junit.xml"
  "--write=github-action-benchmark=$reports/benchmarks.json"
  "--write=bmf=$reports/bencher.json"
  "--write=openmetrics=$reports/metrics.txt"
)
if [[ -n "${GITHUB_STEP_SUMMARY:-}" ]]; then arguments+=(--github-summary); fi

trnbench compare "${arguments[@]}"
code=$?

outcome=error
if [[ $code == 0 ]]; then outcome=passed; elif [[ $code == 6 ]]; then outcome=failed; fi
if [[ -n "${GITHUB_OUTPUT:-}" ]]; then
  printf 'outcome=%s\nreports=%s\n' "$outcome" "$reports" >> "$GITHUB_OUTPUT"
fi
exit "$code"
