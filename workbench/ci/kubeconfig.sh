#!/usr/bin/env bash
# Makes $KUBECONFIG_CONTENT the kubeconfig of the steps that follow; without it they run in the cluster
# (a runner inside the network) or Pulumi ESC brings one.
set -euo pipefail

if [ -z "${KUBECONFIG_CONTENT:-}" ]; then
    exit 0
fi
umask 077
printenv KUBECONFIG_CONTENT > "$RUNNER_TEMP/kubeconfig"
echo "KUBECONFIG=$RUNNER_TEMP/kubeconfig" >> "$GITHUB_ENV"
