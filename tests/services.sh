#!/usr/bin/env bash
# Installs the Debian packages and fetches the data that some tests need, where that can be done: those tests are
# skipped elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

.venv/bin/python experiments/series/fetch.py ||
    echo "tests on series will be skipped: their data could not be fetched" >&2

missing=()
for package in postgresql iproute2 nftables shellcheck slurm-wlm munge openssh-server openssh-client \
    chromium prometheus libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core fish zsh; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "tests that need ${missing[*]} will be skipped: install these packages to run them" >&2
    exit 0
fi
echo "Installing ${missing[*]} for the tests" >&2
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -qq && apt-get install -qq --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "tests that need ${missing[*]} will be skipped: the packages could not be installed" >&2
fi
