#!/usr/bin/env bash
# Makes, once, what compose.yaml needs beside it: passwords and a token in files that only you can read (secrets/), folders for what
# is kept (state/), and your user's number (.env), as which all containers run. A second run changes nothing.
#
# A password is in no command line and on no screen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ $(id -u) -eq 0 ]]; then
    echo "secrets.sh: run it as the user whom the containers are to run as, not as root" >&2
    exit 2
fi
umask 077
mkdir -p secrets state/{home/.mlflow,database,s3,prometheus,grafana}
touch state/home/.mlflow/credentials # Docker would make it as root, where it mounts the secret

make() { [[ -e secrets/$1 ]] || cat >"secrets/$1"; }
value() { cat "secrets/$1"; }
hex() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

for name in ray-token s3-rpc database-superuser database-podium database-mlflow mlflow-admin grafana-admin; do
    make "$name" < <(hex 32)
done
make s3.env <<EOF
GARAGE_DEFAULT_ACCESS_KEY=GK$(hex 12)
GARAGE_DEFAULT_SECRET_KEY=$(hex 32)
GARAGE_DEFAULT_BUCKET=podium
EOF
make s3-credentials < <(
    echo "[default]"
    sed -n 's/^GARAGE_DEFAULT_ACCESS_KEY/aws_access_key_id/p; s/^GARAGE_DEFAULT_SECRET_KEY/aws_secret_access_key/p' secrets/s3.env
)
make mlflow.env <<EOF
MLFLOW_AUTH_ADMIN_PASSWORD=$(value mlflow-admin)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(hex 32)
EOF
make mlflow-credentials <<EOF
[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = $(value mlflow-admin)
EOF
for name in podium mlflow; do
    make "pgpass-$name" < <(echo "database:5432:*:$name:$(value "database-$name")")
done
echo "PODIUM_USER=$(id -u):$(id -g)" >.env
echo "secrets/, state/ and .env are there; go on with: docker compose up --detach --wait"
