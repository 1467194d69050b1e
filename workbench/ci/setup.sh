#!/usr/bin/env bash
# Prepares a job's container: Git trusts the checkout, and the tools' cache lies in it.
set -euo pipefail

# The checkout belongs to the runner's user, the container runs as root.
git config --global --add safe.directory "$GITHUB_WORKSPACE"

# Inside the workspace: the one folder that has the same contents on the runner and in a container, and
# that is no overlay, which the sandbox's containerd could not put its own overlays on.
echo "VLLM_EVAL_CACHE=$GITHUB_WORKSPACE/.cache/vllm-eval" >> "$GITHUB_ENV"
echo "$GITHUB_WORKSPACE/.cache/vllm-eval/bin" >> "$GITHUB_PATH"
