#!/usr/bin/env bash
# Prints rules for nftables that close this host's Ray, and what trials open to each other, to all but the hosts named:
#
#   cluster/hosts/firewall.sh 10.77.0.1 10.77.0.2 | sudo nft -f -
#
# `sudo nft delete table inet podium` takes them back. The dashboard stays open: it asks for the token, and whoever
# submits a sweep needs it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[[ $# -gt 0 ]] || die "give the addresses of all hosts of the cluster, this one's too: firewall.sh ADDRESS..."
for address in "$@"; do
    [[ $address =~ ^[0-9.]+(/[0-9]+)?$ ]] ||
        die "$address is no IPv4 address or network; give those by which the hosts reach each other"
done

hosts=$(IFS=, && echo "$*")
given_out=$(tr '\t' '-' </proc/sys/net/ipv4/ip_local_port_range) # where ranks meet

cat <<EOF
add table inet podium
delete table inet podium
table inet podium {
    chain strangers {
        type filter hook input priority filter; policy accept;
        iif "lo" accept
        ct state established,related accept
        ip saddr { $hosts } accept
        tcp dport $HEAD_PORT reject with tcp reset
        tcp dport $CLIENT_PORT reject with tcp reset
        tcp dport $NODE_PORTS-$((NODE_PORTS + 35)) reject with tcp reset
        tcp dport $WORKER_PORTS-$((WORKER_PORTS + 199)) reject with tcp reset
        tcp dport $given_out reject with tcp reset
    }
}
EOF
