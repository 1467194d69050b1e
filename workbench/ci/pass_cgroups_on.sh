#!/usr/bin/env bash
# Gives the cgroups below a container's root, $1, their controllers, as `make doctor` demands. With version 2, a group
# can do so only while no process is in it, and in a container all processes are in the root.
set -euo pipefail

root=${1:-/sys/fs/cgroup}

if [ ! -e "$root/cgroup.controllers" ]; then
    exit 0 # version 1, where a group may have processes and children
fi
wanted=$(sed -e 's/[^ ]*/+&/g' "$root/cgroup.controllers")
mkdir -p "$root/init"
# Up to 20 times, because the runner starts every step by `docker exec`, and a new process may enter the root after it
# was emptied. Later steps are no problem: runc puts them into the group of the container's first process.
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
