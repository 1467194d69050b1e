#!/usr/bin/env bash
# Names the evaluation image in lower case, which registries demand of an owner's name in any case.
set -euo pipefail

echo "name=ghcr.io/${GITHUB_REPOSITORY_OWNER,,}/vllm-eval-evalchemy" >> "$GITHUB_OUTPUT"
