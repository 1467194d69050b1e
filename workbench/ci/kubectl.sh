#!/usr/bin/env bash
# Installs kubectl into the tools' folder, which is on PATH: the stack's program looks at the cluster with it before it
# declares anything.
set -euo pipefail

# renovate: datasource=github-releases depName=kubernetes/kubernetes
version=v1.34.2

address="${KUBECTL_MIRROR:-https://dl.k8s.io/release}/$version/bin/linux/$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')"
mkdir -p "$VLLM_EVAL_CACHE/bin"
file="$VLLM_EVAL_CACHE/bin/kubectl"
curl --fail --silent --show-error --location --retry 3 --output "$file.new" "$address/kubectl"
echo "$(curl --fail --silent --show-error --location --retry 3 "$address/kubectl.sha256")  $file.new" | sha256sum --check --quiet
chmod +x "$file.new"
mv "$file.new" "$file"
