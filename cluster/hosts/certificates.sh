#!/usr/bin/env bash
# Makes a private authority and a certificate for each host, for Ray's messages to be encrypted:
#
#   cluster/hosts/certificates.sh FOLDER ADDRESS...
#
# FOLDER gets the authority (`authority.key` signs: it stays on this machine) and a folder for each ADDRESS, which goes to
# ~/.ray/tls of that host. head.sh and worker.sh use what they find there; for `podium launch` on a host of the cluster:
# source ~/.ray/tls/environment. An authority and certificates that are there stay: later hosts can be added.
set -euo pipefail

AUTHORITY_DAYS=3650
HOST_DAYS=825
NEW_KEY=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc)

die() {
    echo "certificates.sh: $*" >&2
    exit 2
}

quietly() {
    local said
    said=$("$@" 2>&1) || die "$1 failed: $said"
}

[[ $# -ge 2 && $1 != -* ]] || die "give a folder, and the address by which the others reach each host: certificates.sh FOLDER ADDRESS..."
command -v openssl >/dev/null || die "there is no openssl on the PATH"
folder=$1
shift
for address in "$@"; do
    [[ $address =~ ^[A-Za-z0-9][A-Za-z0-9.:-]*$ ]] || die "$address is no address or name of a host"
done

umask 077
mkdir -p "$folder"
if [[ ! -e $folder/authority.crt ]]; then
    quietly openssl req -x509 "${NEW_KEY[@]}" -days "$AUTHORITY_DAYS" -subj "/CN=authority of a Ray cluster" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$folder/authority.key" -out "$folder/authority.crt" 
fi

for address in "$@"; do
    host="$folder/$address"
    [[ ! -e $host ]] || continue
    [[ $address =~ ^[0-9.]+$|: ]] && kind=IP || kind=DNS
    made=$(mktemp -d -p "$folder")
    quietly openssl req -x509 -CA "$folder/authority.crt" -CAkey "$folder/authority.key" "${NEW_KEY[@]}" -days "$HOST_DAYS" \
        -subj "/CN=$address" -addext "subjectAltName=$kind:$address,IP:127.0.0.1,DNS:localhost" \
        -addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth,clientAuth \
        -keyout "$made/host.key" -out "$made/host.crt"
    cp "$folder/authority.crt" "$made/authority.crt"
    cat >"$made/environment" <<'EOF'
# To be sourced: Ray speaks TLS with the certificate beside this file.
tls="${RAY_TLS:-$HOME/.ray/tls}"
export RAY_USE_TLS=1 RAY_TLS_CA_CERT="$tls/authority.crt"
export RAY_TLS_SERVER_CERT="$tls/host.crt" RAY_TLS_SERVER_KEY="$tls/host.key"
EOF
    mv "$made" "$host"
    echo "$host: copy it to $address, as ~/.ray/tls"
done
