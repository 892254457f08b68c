#!/usr/bin/env bash
# Makes passwords and a token in files that only you can read, once, and says how they become secrets:  secrets.sh FOLDER
#
# A password is in no command line and on no screen. Keep the folder out of version control.
set -euo pipefail
folder=${1:?"say where the files are to be: secrets.sh FOLDER"}
umask 077
mkdir -p "$folder/database"

make() { [[ -e $folder/$1 ]] || cat >"$folder/$1"; }
value() { cat "$folder/$1"; }

for name in ray-token admin cluster flask database/superuser database/podium database/mlflow; do
    make "$name" < <(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
done
make environment <<EOF
PGPASSWORD=$(value database/podium)
MLFLOW_TRACKING_USERNAME=cluster
MLFLOW_TRACKING_PASSWORD=$(value cluster)
EOF
make mlflow <<EOF
PGPASSWORD=$(value database/mlflow)
MLFLOW_AUTH_ADMIN_PASSWORD=$(value admin)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(value flask)
EOF

make_account='import os, sys; from podium.wiring.clusters.accounts import Account, make_account; make_account("http://127.0.0.1:5000", Account("admin", os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]), Account("cluster", sys.stdin.read()))'

cat <<EOF
kubectl --namespace podium create secret generic podium-ray-token --from-file=auth_token=$folder/ray-token
kubectl --namespace podium create secret generic podium-database --from-file=$folder/database
kubectl --namespace podium create secret generic podium-environment --from-env-file=$folder/environment
kubectl --namespace podium create secret generic podium-mlflow --from-env-file=$folder/mlflow
# with keys for S3, AWS_ACCESS_KEY_ID=… and AWS_SECRET_ACCESS_KEY=… in $folder/s3:
kubectl --namespace podium create secret generic podium-s3 --from-env-file=$folder/s3
# once MLflow runs, its user in whose name the cluster writes its runs:
kubectl --namespace podium exec --stdin deployment/tracking -- python -c '$make_account' <$folder/cluster
EOF
