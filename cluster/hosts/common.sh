# shellcheck shell=bash
# What head.sh and worker.sh share: the Podium of this checkout, one token for all hosts, fixed ports. To be sourced.

die() {
    echo "$(basename "$0"): $*" >&2
    exit 2
}

PATH="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.venv/bin:$PATH"
command -v ray >/dev/null || die "there is no ray on the PATH; install Podium on this host first (make sweep, or pip)"

export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"
unset RAY_AUTH_TOKEN # it would win over the file, and other users of this host could read it in the process list

# What certificates.sh has made for this host, if anything: then Ray's messages are encrypted.
RAY_TLS="${RAY_TLS:-$HOME/.ray/tls}"
if [[ -e $RAY_TLS/environment ]]; then
    # shellcheck source=/dev/null
    source "$RAY_TLS/environment"
fi

# Ports of one host. Two Rays on one host need different ones.
HEAD_PORT="${HEAD_PORT:-6379}"        # the head's one more
CLIENT_PORT="${CLIENT_PORT:-10001}"   # and another, for Ray's own client, which Ray does not leave out
NODE_PORTS="${NODE_PORTS:-6380}"      # the first of thirty-six
WORKER_PORTS="${WORKER_PORTS:-10100}" # the first of two hundred

# Ray shows its metrics to everybody, on every address of the host and without a token, and has no option against it. So
# there are none unless they are asked for; a port that cannot be opened leaves two of the three switched off.
export RAY_enable_metrics_collection="${RAY_enable_metrics_collection:-false}"
export DASHBOARD_METRIC_PORT="${DASHBOARD_METRIC_PORT:--1}"
export AUTOSCALER_METRIC_PORT="${AUTOSCALER_METRIC_PORT:--1}"

# A host that is cut off is given up after 5 checks of 3 s each and 3 s apart, and learns it within seconds of its return;
# Ray's own figures make each of the two last a minute.
export RAY_health_check_timeout_ms="${RAY_health_check_timeout_ms:-3000}"
export RAY_raylet_liveness_self_check_interval_ms="${RAY_raylet_liveness_self_check_interval_ms:-5000}"

check_address() {
    case "$1" in
    "" | -*) die "give the address by which the other hosts reach this one: $(basename "$0") $2" ;;
    0.0.0.0 | ::) die "$1 is every address of this host; give the one by which the other hosts reach it" ;;
    esac
}

check_token() {
    [[ -s $RAY_AUTH_TOKEN_PATH ]] || die "there is no token at $RAY_AUTH_TOKEN_PATH; copy the head's: $1"
    check_private "$RAY_AUTH_TOKEN_PATH" token
    if [[ -n ${RAY_TLS_SERVER_KEY:-} ]]; then check_private "$RAY_TLS_SERVER_KEY" key; fi
}

check_private() {
    case "$(stat -c %a "$1")" in
    ?00) ;;
    *) die "others can read the $2 at $1; run: chmod 600 $1" ;;
    esac
}

# Which of sixteen pairs of ports a start takes, after the one that the last start on this host took: where a host has not
# answered, gRPC waits for up to two minutes before it calls the same port again, and the head would give up a Ray that
# had come back under it.
next_turn() {
    local file="$RAY_AUTH_TOKEN_PATH.turn-$NODE_PORTS" last=-1
    if [[ -r $file ]]; then last=$(<"$file"); fi
    [[ $last =~ ^[0-9]+$ ]] || last=-1
    local turn=$(((last + 1) % 16))
    { echo "$turn" >"$file"; } 2>/dev/null || true
    echo "$turn"
}

# Stays in the foreground: ending this one process (Ctrl-C, kill, systemd) ends what it started, and nothing else.
start_ray() {
    local pair=$((NODE_PORTS + 4 + 2 * $(next_turn)))
    exec ray start --block --disable-usage-stats --log-color=false \
        --node-manager-port="$pair" \
        --object-manager-port="$((pair + 1))" \
        --runtime-env-agent-port="$NODE_PORTS" \
        --dashboard-agent-grpc-port="$((NODE_PORTS + 1))" \
        --dashboard-agent-listen-port="$((NODE_PORTS + 2))" \
        --metrics-export-port="$((NODE_PORTS + 3))" \
        --min-worker-port="$WORKER_PORTS" \
        --max-worker-port="$((WORKER_PORTS + 199))" \
        "$@"
}
