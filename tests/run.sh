#!/usr/bin/env bash
# Runs all tests in three rows side by side: those on Ray; those that compute; those on several hosts, and then those in
# a browser. Each row ends with a share of the slow ones.
# Coverage is measured of those that compute alone, and without their properties (conftest.py): it would cost the others,
# whose work is done by other processes, and these, which say the same a hundred times, more than it would tell.
set -uo pipefail
cd "$(dirname "$0")/.."

slow="slow and not (ray or cluster or browser)"
after_ray=(tests/experiments tests/registry tests/wiring)
after_browser=(tests/faults)
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT

on_ray() {
    .venv/bin/pytest -m ray
    local failed=$?
    .venv/bin/pytest -m "$slow" "${after_ray[@]}" || failed=1
    return "$failed"
}
computing() {
    nice -n 5 .venv/bin/pytest --cov --cov-report= -m "not (ray or slow or cluster or browser)"
    local failed=$?
    local others=("${after_ray[@]}" "${after_browser[@]}")
    nice -n 5 .venv/bin/pytest -m "$slow" "${others[@]/#/--ignore=}" || failed=1
    return "$failed"
}
elsewhere() {
    .venv/bin/pytest -m "cluster and not ray"
    local failed=$?
    .venv/bin/pytest -m "browser and not (ray or cluster)" || failed=1
    .venv/bin/pytest -m "$slow" "${after_browser[@]}" || failed=1
    return "$failed"
}

computing >"$logs/computing" 2>&1 &
others=($!)
elsewhere >"$logs/elsewhere" 2>&1 &
others+=($!)
on_ray
failed=$?
for other in "${others[@]}"; do
    wait "$other" || failed=1
done
.venv/bin/coverage report --skip-covered --fail-under=80 || failed=1
cat "$logs/computing" "$logs/elsewhere"
exit "$failed"
