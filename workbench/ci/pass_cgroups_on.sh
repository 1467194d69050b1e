#!/usr/bin/env bash
# Lets a job's container have cgroups with controllers below its own root, $1, as `make doctor` demands: with version 2
# only a group without processes may pass its controllers on, and in a container all processes are in the root.
set -euo pipefail

root=${1:-/sys/fs/cgroup}

if [ ! -e "$root/cgroup.controllers" ]; then
    exit 0 # version 1, where every group may have both
fi
wanted=$(sed -e 's/[^ ]*/+&/g' "$root/cgroup.controllers")
mkdir -p "$root/init"
# The runner starts every step by `docker exec`, so that a process may come between the two halves of an attempt. A
# step after this one joins the first process's group, as runc does where the root is closed.
for _ in {1..20}; do
    while read -r pid; do
        # It may have ended since.
        { echo "$pid" > "$root/init/cgroup.procs"; } 2> /dev/null || true
    done < "$root/cgroup.procs"
    if { echo "$wanted" > "$root/cgroup.subtree_control"; } 2> /dev/null; then
        exit 0
    fi
    sleep 0.1
done
echo "error: $root does not pass on its controllers ($(cat "$root/cgroup.controllers")); still in it:" >&2
while read -r pid; do
    echo "  $pid $(tr '\0' ' ' 2> /dev/null < "/proc/$pid/cmdline" || true)" >&2
done < "$root/cgroup.procs"
exit 1
