#!/usr/bin/env bash
# Adds this host to a Ray cluster:  worker.sh ADDRESS HEAD[:PORT] [options of `ray start`]
#
# ADDRESS is the one by which the other hosts reach this one, HEAD the one that head.sh was given.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

check_address "${1:-}" "ADDRESS HEAD"
[[ -n ${2:-} ]] || die "give the head's address: worker.sh $1 HEAD"
address=$1 head=$2
shift 2
[[ $head == *:* ]] || head="$head:$HEAD_PORT"

check_token "scp ${head%:*}:.ray/auth_token $RAY_AUTH_TOKEN_PATH && chmod 600 $RAY_AUTH_TOKEN_PATH"

start_ray --address="$head" --node-ip-address="$address" "$@"
