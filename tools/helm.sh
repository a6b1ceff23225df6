#!/usr/bin/env bash
# Lint and render what is in deploy/, with Helm and kustomize built from their Go modules into .tools/ (once; needs go).
# The tests in tests/deploy/ use the same two programs and look closer.
set -euo pipefail
cd "$(dirname "$0")/.."

HELM_VERSION=v3.22.0
KUSTOMIZE_VERSION=v5.8.1
KUBE_VERSION=1.31.0 # for rendering only: without a cluster Helm cannot ask for one
TOOLS="$PWD/.tools"
CHART=deploy/helm/wallet-bridge

build() { # name, module, version
  local stamp="$TOOLS/$1-$3"
  if [ ! -e "$stamp" ]; then
    echo "helm.sh: building $1 $3 into .tools/ (some minutes, once)"
    mkdir -p "$TOOLS/bin"
    echo '*' >"$TOOLS/.gitignore"
    GOBIN="$TOOLS/bin" go install -ldflags '-s -w' "$2@$3"
    touch "$stamp"
  fi
}

command -v go >/dev/null || { echo "helm.sh: go is not installed; it builds Helm and kustomize" >&2; exit 2; }
build helm helm.sh/helm/v3/cmd/helm "$HELM_VERSION"
build kustomize sigs.k8s.io/kustomize/kustomize/v5 "$KUSTOMIZE_VERSION"

for values in "$CHART"/ci/*-values.yaml; do
  echo "helm.sh: lint and template with $values"
  "$TOOLS/bin/helm" lint --strict --quiet "$CHART" --values "$values"
  "$TOOLS/bin/helm" template wallet-bridge "$CHART" --kube-version "$KUBE_VERSION" --values "$values" >/dev/null
done
for folder in deploy/kustomize/base deploy/kustomize/overlays/*; do
  echo "helm.sh: kustomize build $folder"
  "$TOOLS/bin/kustomize" build "$folder" >/dev/null
done
