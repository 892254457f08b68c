#!/usr/bin/env bash
# Starts the head of a Ray cluster on this host:  head.sh ADDRESS [options of `ray start`]
#
# ADDRESS is the one by which the other hosts reach this one. Ray replaces 127.0.0.1 by the host's first real one.
# Laptops submit sweeps to the dashboard, which listens on loopback; DASHBOARD_HOST=ADDRESS has it listen there.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_address "${1:-}" "ADDRESS"
check_address "${DASHBOARD_HOST:-127.0.0.1}" "ADDRESS"
address=$1
shift

if [[ ! -e $RAY_AUTH_TOKEN_PATH ]]; then
    (
        umask 077
        mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")"
        head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH"
    )
    echo "Made the token $RAY_AUTH_TOKEN_PATH; every other host needs a copy, with mode 600"
fi
check_token "remove the empty file, and head.sh makes one"

start_ray --head --node-ip-address="$address" --port="$HEAD_PORT" --include-dashboard=true \
    --dashboard-host="${DASHBOARD_HOST:-127.0.0.1}" --dashboard-port="${DASHBOARD_PORT:-8265}" "$@"
