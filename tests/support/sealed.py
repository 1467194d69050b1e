"""Run a command that can change no file of this machine but its own, and fail when it tried.

`python -m tests.support.sealed COMMAND…` gives the command a root of its own: the machine's files, below a layer in
memory that takes whatever is written. The repository, the caches and /tmp are the machine's. What the layer holds at
the end was written where no test has any business, such as a service's own data, and is listed.

Where no such root can be made, which is said, the command runs as it would: for others than root, and in containers,
whose root is a layer already (the sandbox's own would be one too many for the kernel).
"""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.kernel import can_mount
from workbench.paths import REPOSITORY, cache_dir

GO_FOLDERS: Final = ("GOCACHE", "GOMODCACHE")
SCRIPT: Final = """\
mount --make-rprivate /
mount -t tmpfs tmpfs {here}
mkdir {here}/written {here}/work {here}/root
mount -t overlay overlay -o lowerdir=/,upperdir={here}/written,workdir={here}/work {here}/root
{binds}
# As Debian's packages make it: programs that write there unless they are told another folder must find it.
mkdir -p {here}/root/var/lib/prometheus/alertmanager
# Not by chroot: whoever enters a namespace made below it would be back in the machine's own root.
folder=$PWD
cd {here}/root
pivot_root . .
umount -l .
code=0
env --chdir="$folder" "$@" || code=$?
# A folder is listed only where nothing is in it; bytecode is a cache.
cd {here}/written
rmdir -p var/lib/prometheus/alertmanager 2>/dev/null || true  # not empty, or the machine has it
find . -mindepth 1 -name __pycache__ -prune -o '(' -not -type d -o -empty ')' -printf '/%P\\n' >{here}.txt
exit $code
"""


def run(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run a command so.

    Returns
    -------
    (int, list of str)
        Its exit code, and every file or folder outside that it made, changed or removed, sorted.
    """
    with tempfile.TemporaryDirectory(prefix="vllm-eval-sealed-") as folder:
        here = Path(folder) / "layer"
        here.mkdir()
        lines = [f"mkdir -p {to}; mount --rbind {each} {to}" for each, to in _binds(here / "root")]
        script = SCRIPT.format(here=here, binds="\n".join(lines))
        done = subprocess.run(["unshare", "--mount", "sh", "-ec", script, "sh", *command], check=False)
        written = here.with_suffix(".txt")
        return done.returncode, sorted(written.read_text().splitlines()) if written.exists() else []


def possible() -> bool:
    """Tell whether the kernel lets us make such a root."""
    return os.geteuid() == 0 and can_mount() and ("/", "overlay") not in _mounts()


def _binds(root: Path) -> Iterator[tuple[str, str]]:
    """Yield what the command has as it is, and where: what is mounted, the caches, the repository and /tmp."""
    go = subprocess.run(["go", "env", *GO_FOLDERS], capture_output=True, text=True, check=False).stdout.split()
    ours = [REPOSITORY, Path(sys.prefix).resolve(), cache_dir(), *map(Path, go), Path(tempfile.gettempdir())]
    mounts = [Path(target) for target, _ in _mounts() if target != "/"]
    kept = sorted({each.resolve() for each in (*mounts, *ours) if each.is_dir()})
    for each in kept:
        # What lies below another one comes with it.
        if not any(each != other and each.is_relative_to(other) for other in kept):
            yield shlex.quote(str(each)), shlex.quote(f"{root}{each}")


def _mounts() -> list[tuple[str, str]]:
    """Return target and kind of every mount; the kernel writes a space in a path as \\040."""
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [(target.replace(r"\040", " "), kind) for _, target, kind, *_ in lines]


def main() -> int:
    """Run the command line's command."""
    command = sys.argv[1:]
    if not possible():
        print("not looked at: files that tests write outside of their folders (needs root, and no container)")
        return subprocess.run(command, check=False).returncode
    code, written = run(command)
    if written:
        print("error: tests wrote outside of their folders (nothing of it is left):", *written, sep="\n  ")
    return code or int(bool(written))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
