set -uo pipefail
export PATH="$environment/bin:$PATH"

# What the nodes share: the token of this job's Ray, and what they run at the end; for their owner alone.
# Each run of the job has a folder of its own: a run that was cut off may still remove its.
folder=$home/slurm-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$folder/token"
unset RAY_AUTH_TOKEN # it would win over the file
export RAY_enable_metrics_collection=false AUTOSCALER_METRIC_PORT=-1 # Ray shows metrics to strangers, too
trap 'rm -rf "$folder"' EXIT
rm -rf "$home/slurm-$SLURM_JOB_ID"-* # of runs that were killed
mkdir -p "$folder" && chmod 700 "$folder" || exit 2
(umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH") || exit 2

# Jobs that share a node have ports of their own; those that are not named here are given out by the system.
port=$((20000 + 2 * (SLURM_JOB_ID % 6000)))
address=$(getent ahostsv4 "$(hostname)" | awk '$1 !~ /^127\./ { print $1; exit }')
address=${address:-$(hostname -I | awk '{ print $1 }')}
export folder address port gpus

# Where a node keeps Ray's files, among them sockets: their paths have 107 bytes at most, of which Ray adds 64.
scratch() {
    local name=ray-$SLURM_JOB_ID-$SLURM_NODEID
    local path=${SLURM_TMPDIR:-${TMPDIR:-/tmp}}/$name
    ((${#path} <= 43)) || path=/tmp/$name
    echo "$path"
}
# What each node runs when Ray has ended there, or was killed.
tidy() {
    rm -rf "$(scratch)"
}
# What each node runs: Ray, with the head on the first.
node() {
    if ((SLURM_NODEID == 0)); then
        set -- --head --node-ip-address="$address" --port="$port" --ray-client-server-port="$((port + 1))" \
            --include-dashboard=false
    else
        until (: <"/dev/tcp/$address/$port") 2>/dev/null; do sleep 1; done
        set -- --address="$address:$port"
    fi
    trap 'sleep 10; kill -KILL 0' TERM # workers write checkpoints meanwhile; a head that is told waits for itself
    until [[ -e $folder/complete ]]; do # Ray gives up where it takes over half a minute to start
        tidy && mkdir -m 700 "$(scratch)" || return
        ray start --block "$@" --temp-dir="$(scratch)" --num-cpus="$SLURM_CPUS_ON_NODE" --num-gpus="$gpus" \
            --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 \
            --include-log-monitor=false --disable-usage-stats --log-color=false &
        wait
    done
}
printf '#!/usr/bin/env bash\n%s\n%s\n' "$(declare -f scratch tidy)" tidy >"$folder/tidy"
chmod 700 "$folder/tidy"
srun --quiet --whole --cpu-bind=none --kill-on-bad-exit=0 --task-epilog="$folder/tidy" \
    bash -c "$(declare -f scratch tidy node); node" &
nodes=$!

# SIGTERM comes some time before the time limit, for this script alone: the driver is told, has checkpoints written and
# ends with 75. When the job is cancelled or preempted, Slurm itself tells every process, and the driver, whose Ray is
# told, too, may not get far.
is_ended_by_slurm() { # not without an answer: the sweep has to go on
    [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == COMPLETING ]]
}
leave() {
    if ! is_ended_by_slurm; then
        is_told=yes
        kill -TERM "$driver"
    fi
}
is_told=

launch() {
    podium cluster wait "$address:$port" --hosts "$SLURM_JOB_NUM_NODES" --within-s 600 && touch "$folder/complete" &&
        exec podium launch "${sweep[@]}" --cluster "$address:$port" --home "$home" --store "$store"
}
launch &
driver=$!
trap leave TERM
while kill -0 "$driver" 2>/dev/null; do
    wait -n "$driver" "$nodes"
    kill -0 "$nodes" 2>/dev/null || kill -KILL "$driver" # without a Ray it would wait in vain
done
wait "$driver"
code=$?

kill "$nodes" 2>/dev/null
while kill -0 "$nodes" 2>/dev/null; do wait "$nodes"; done
rm -rf "$folder"
# A driver that is told before it can listen ends with 143.
if [[ $is_told && ($code == 75 || $code == 143) ]] && ! is_ended_by_slurm; then
    for _ in 1 2 3 4 5; do # the same job goes on with the sweep, once Slurm has room for it again
        scontrol requeue "$SLURM_JOB_ID" && break
        sleep 5
    done
fi
exit "$code"
