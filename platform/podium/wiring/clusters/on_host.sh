# What `podium cluster hosts` has a host do. It comes over ssh's standard input, after its settings: environment, token,
# common_sh, head_sh, worker_sh, start (head.sh or worker.sh with its arguments), address, hosts, and the ports, if given.
set -euo pipefail
folder=$HOME/.podium/ray
pid_file=$folder/pid
token_file=$HOME/.ray/auth_token

# For `up` and `down`: two of them at once would not know of each other's Ray.
alone() {
    mkdir -p "$HOME/.podium"
    exec 9>"$HOME/.podium/ray.lock"
    flock 9
}

# The leader of the session that the last start made, and in which all its processes are; fails if there was none.
session() {
    local pid began boot
    read -r pid began boot 2>/dev/null <"$pid_file" || return
    [[ $boot == $(</proc/sys/kernel/random/boot_id) ]] || return
    # the number may belong to another process by now, but not as long as a process of the session is left
    [[ ! -e /proc/$pid || $(beginning "$pid") == "$began" ]] && echo "$pid"
}
beginning() {
    sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20
}
lives() {
    local pid
    pid=$(session) && [[ -e /proc/$pid ]]
}

probe() {
    "$environment/bin/python" -c '
import json
from pathlib import Path
from podium.tracking.provenance import provenance
print(json.dumps(provenance(Path.home())))'
    if [[ -e $token_file ]]; then sha256sum <"$token_file" | cut -d' ' -f1; else echo none; fi
    if lives; then echo up; else echo down; fi
}

up() {
    alone
    if lives; then return; fi
    end
    mkdir -p "$folder/cluster/hosts"
    chmod 700 "$folder"
    ln -sfn "$environment" "$folder/.venv" # where the scripts look for it
    printf %s "$common_sh" >"$folder/cluster/hosts/common.sh"
    printf %s "$head_sh" >"$folder/cluster/hosts/head.sh"
    printf %s "$worker_sh" >"$folder/cluster/hosts/worker.sh"
    (
        umask 077
        mkdir -p "$HOME/.ray"
        printf %s "$token" >"$token_file.new"
        mv "$token_file.new" "$token_file"
    )
    local _
    for _ in 1 2 3 4 5; do # Ray gives up where it takes over half a minute to start
        begin
        while lives; do
            if grep -q "Ray runtime started" "$folder/log"; then return; fi
            sleep 0.5
        done
    done
    tail -n 5 "$folder/log" >&2
    end
    return 1
}
begin() {
    local scope=() script=$folder/cluster/hosts/${start[0]}
    if [[ $(loginctl show-user "$(id -un)" --property=Linger --value 2>/dev/null) == yes ]]; then
        scope=(systemd-run --user --scope --quiet) # where logins that end take their processes along
    fi
    RAY_AUTH_TOKEN_PATH=$token_file setsid "${scope[@]}" bash "$script" "${start[@]:1}" >"$folder/log" 2>&1 </dev/null 9>&- &
    echo "$! $(beginning $!) $(</proc/sys/kernel/random/boot_id)" >"$pid_file"
}

joined() {
    local certificates=${RAY_TLS:-$HOME/.ray/tls}
    if [[ -e $certificates/environment ]]; then # then the head encrypts its messages
        # shellcheck source=/dev/null
        source "$certificates/environment"
    fi
    "$environment/bin/python" -m podium cluster wait "$address" --hosts "$hosts" --within-s 300 >/dev/null
}

# Ends what `up` started, and nothing else: `ray stop` would end every Ray of the machine.
down() {
    alone
    end
}
end() {
    local pid _
    if pid=$(session); then
        kill -TERM "$pid" 2>/dev/null || true
        for _ in {1..90}; do
            [[ -e /proc/$pid ]] || break
            sleep 0.5
        done
        pkill -KILL --session "$pid" || true
    fi
    rm -rf "$folder"
}

status() {
    if lives; then echo up; else echo down; fi
    nproc
    { nvidia-smi --list-gpus 2>/dev/null || true; } | wc -l
    cut -d' ' -f1 /proc/loadavg
    df --output=avail --block-size=1 "$HOME" | tail -n 1
}

