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
mkdir -p secrets state/{home/.mlflow,database,s3,targets,prometheus,grafana}
touch state/home/.mlflow/credentials # Docker would make it as root, where it mounts the secret

make() { [[ -e secrets/$1 ]] || cat >"secrets/$1"; }
value() { cat "secrets/$1"; }
hex() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

for name in ray-token s3-rpc database-superuser database-podium database-mlflow mlflow-admin mlflow-cluster grafana-admin; do
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
mlflow_tracking_username = cluster
mlflow_tracking_password = $(value mlflow-cluster)
EOF
for name in podium mlflow; do
    make "pgpass-$name" < <(echo "database:5432:*:$name:$(value "database-$name")")
done
echo "PODIUM_USER=$(id -u):$(id -g)" >.env
make_account='import os, sys; from podium.wiring.clusters.accounts import Account, make_account; make_account("http://127.0.0.1:5000", Account("admin", os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]), Account("cluster", sys.stdin.read()))'
cat <<EOF
secrets/, state/ and .env are there; go on in this folder with
docker compose up --detach --wait
# once, MLflow's user in whose name the cluster writes its runs:
docker compose exec -T tracking python -c '$make_account' <secrets/mlflow-cluster
EOF
