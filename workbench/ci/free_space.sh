#!/usr/bin/env bash
# Removes software that no job here uses from a hosted runner, some 25 GB: the runner promises 14 GB free, and building
# the tools takes more. $1 is the runner's root: `/`, or where a container has mounted it. Other runners lack these folders.
set -euo pipefail

root=${1%/}
run=()
if [ "$(id -u)" != 0 ]; then
    run=(sudo)
fi
for folder in usr/share/dotnet usr/local/lib/android usr/local/.ghcup opt/ghc opt/hostedtoolcache/CodeQL usr/share/swift; do
    if [ -n "$folder" ] && [ -d "$root/$folder" ]; then
        "${run[@]}" rm -rf "${root:-}/$folder"
    fi
done
df -h "$1"
