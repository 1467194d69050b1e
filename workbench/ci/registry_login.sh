#!/usr/bin/env bash
# Lets crane read the registry that $1 names, with the job's own token.
set -euo pipefail

printenv REGISTRY_TOKEN | crane auth login "$1" --username "$GITHUB_ACTOR" --password-stdin
