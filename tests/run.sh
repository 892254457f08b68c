#!/usr/bin/env bash
# Runs all tests in three processes side by side: those on Ray, the others that mostly wait, and those that compute.
# Coverage is measured of the last alone, and without its properties (conftest.py): it would cost the others, whose work
# is done by other processes, and these, which say the same a hundred times, more than it would tell.
set -uo pipefail
cd "$(dirname "$0")/.."

waiting="slow or cluster or browser"
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT

nice -n 5 .venv/bin/pytest -m "not ray and ($waiting)" >"$logs/waiting" 2>&1 &
others=($!)
nice -n 5 .venv/bin/pytest --cov --cov-report= -m "not ray and not ($waiting)" >"$logs/computing" 2>&1 &
others+=($!)
.venv/bin/pytest -m ray
failed=$?
for other in "${others[@]}"; do
    wait "$other" || failed=1
done
.venv/bin/coverage report --skip-covered --fail-under=80 || failed=1
cat "$logs/waiting" "$logs/computing"
exit "$failed"
