#!/usr/bin/env bash
# Writes the name of the evaluation image and its registry to the job's outputs. Both are in lower case, because
# registries refuse capitals and an owner's name may have some. IMAGE_NAME names an image of another registry, such as
# harbor.example.com/ml/vllm-eval-evalchemy.
set -euo pipefail

name=${IMAGE_NAME:-ghcr.io/$GITHUB_REPOSITORY_OWNER/vllm-eval-evalchemy}
name=${name,,}
if [[ ! $name =~ ^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$ ]]; then
    echo "IMAGE_NAME is '$name': write REGISTRY/PATH without a tag, such as harbor.example.com/ml/vllm-eval-evalchemy" >&2
    exit 2
fi
printf 'name=%s\nregistry=%s\n' "$name" "${name%%/*}" >> "$GITHUB_OUTPUT"
