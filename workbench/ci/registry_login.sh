#!/usr/bin/env bash
# Logs crane in to the registry that $1 names, and tells the steps that follow ($INSPECT). Without a password (a cloud's
# identity may log in instead), an image that was built again counts as another one even if its content is the same.
set -euo pipefail

if [ -z "${REGISTRY_TOKEN:-}" ]; then
    echo "no password for $1: digests are compared, and not what they hold"
    exit 0
fi
printenv REGISTRY_TOKEN | crane auth login "$1" --username "${REGISTRY_USERNAME:-$GITHUB_ACTOR}" --password-stdin
echo "INSPECT=crane manifest" >> "$GITHUB_ENV"
