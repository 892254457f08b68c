#!/usr/bin/env bash
# Writes what kustomize makes of each overlay:  render.sh [FOLDER]   (default: rendered, beside this file)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/rendered}
for overlay in "$here"/overlays/*/; do
    kubectl kustomize "$overlay" >"$folder/$(basename "$overlay").yaml"
done
