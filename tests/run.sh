#!/usr/bin/env bash
# Runs all tests, in two processes side by side: those that mostly wait for other processes, and those that compute.
set -uo pipefail
cd "$(dirname "$0")/.."

waiting="ray or slow or cluster or browser"
log=$(mktemp)
trap 'kill "${computing:-}" 2>/dev/null; rm -f "$log"' EXIT

COVERAGE_FILE=.coverage-computing nice -n 10 .venv/bin/pytest --cov --cov-report= -m "not ($waiting)" >"$log" 2>&1 &
computing=$!
COVERAGE_FILE=.coverage-waiting .venv/bin/pytest --cov --cov-report= -m "$waiting"
failed=$?
wait "$computing" || failed=1
cat "$log"
.venv/bin/coverage combine --quiet .coverage-computing .coverage-waiting || failed=1
.venv/bin/coverage report --skip-covered --fail-under=80 || failed=1
exit "$failed"
