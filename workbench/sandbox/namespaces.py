"""The sandbox's own network, mount, PID and cgroup namespaces.

Process 1 of the PID namespace is `pause`; killing it ends every process, mount,
interface and firewall rule of the sandbox at once, because all of them live in
its namespaces. What remains is files below `paths.state` and empty cgroups.
"""

import contextlib
import os
import shlex
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from workbench.cluster.requests import DeployRequest
from workbench.paths import Paths
from workbench.sandbox.addresses import UPLINK_DNS
from workbench.shell import WorkbenchError, run, say, wait_for
from workbench.toolchain.tools import debian_root
from workbench.toolchain.whole import BOOT_ID

CGROUPS: Final = Path("/sys/fs/cgroup")
LOCK: Final = "up.lock"  # of `make up`, in the state
# Beginnings of the variables that tell the caller's own tools their folders and settings.
THEIRS: Final = ("DOCKER_CONFIG", "ETCD_", "GIT_", "HELM_", "KUBE", "PULUMI_", "XDG_")

# kubelet sets these three settings, which are the whole machine's. In the sandbox,
# files take their place that already have the values which it wants.
KERNEL_SETTINGS: Final = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}


class Sandbox:
    """A running sandbox, entered by its process 1.

    Parameters
    ----------
    paths
        Where its files are.
    node
        A process of this machine, such as a kind node's first, whose network it joins instead of making one.
    request
        What the caller of `make up` asks for; nothing by default.
    server
        What serves its model, one of `model.SERVERS`; empty for the default.
    """

    def __init__(
        self, paths: Paths, node: int | None = None, request: DeployRequest | None = None, server: str = ""
    ) -> None:
        self.paths = paths
        self.request = request or DeployRequest()
        self.server = server
        self._node = node
        self._pid_file = paths.state / "init.pid"

    @property
    def kubeconfig(self) -> Path:
        """Credentials of the cluster's administrator; the address holds only inside."""
        return self.paths.state / "kubeconfig"

    def pid(self) -> int | None:
        """Return the host's process id of process 1, or None when there is no sandbox."""
        try:
            pid, started = self._pid_file.read_text().split()
            alive = _start_time(int(pid)) == started
        except (OSError, ValueError):
            return None
        return int(pid) if alive else None

    def start(self) -> None:
        """Create the namespaces and their mounts, unless they are there."""
        ready = self.paths.state / "init.ready"
        if self.pid() is not None and ready.exists():
            return
        self._kill()  # what a start that was killed left half done
        self._forget_another_boot()
        ready.unlink(missing_ok=True)
        self.paths.logs.mkdir(parents=True, exist_ok=True)
        join = _join(_make_cgroups(self.paths.name))
        network = f"nsenter --net=/proc/{self._node}/ns/net" if self._node else "unshare --net"
        unshare = f"{network} unshare --mount --cgroup --pid --fork --kill-child --mount-proc"
        log = self.paths.logs / "init.log"
        # In the background of a shell that ends, so that the sandbox survives `make up` and a closed terminal.
        script = f"({join} exec setsid {unshare} {self.paths.bin / 'pause'}) >{log} 2>&1 </dev/null & echo $!"
        launcher = run(["sh", "-c", script]).strip()
        children = Path(f"/proc/{launcher}/task/{launcher}/children")

        def first_child() -> str:
            try:
                return children.read_text().strip()
            except OSError as error:
                raise WorkbenchError(f"unshare ended: {log.read_text().strip()}") from error

        pid = wait_for("the sandbox's namespaces", first_child, seconds=30, interval=0.05)
        try:
            self._pid_file.write_text(f"{pid} {_start_time(int(pid))}")
        except OSError as error:
            raise WorkbenchError(f"the sandbox's first process ended: {log.read_text().strip()}") from error
        _pass_controllers_on(self.paths.name)
        self._enter(["sh", "-ec", self._mounts()])
        self._enter(["sh", "-ec", "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1"])
        ready.touch()

    def connect(self) -> None:
        """Connect the network namespace to the outside by NAT in user space, which changes nothing outside."""
        if "tap0" in self._enter(["ip", "-o", "link"]):
            return
        # --network is left out: slirp4netns opens its sockets in the host's network.
        self._spawn(
            "slirp4netns",
            ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "1", "tap0"],
            network=False,
        )
        wait_for("the sandbox's uplink", lambda: "default" in self._enter(["ip", "route"]), seconds=30, interval=0.1)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        timeout: float = 600,
        log: Path | None = None,
    ) -> str:
        """Run a command inside; see `workbench.shell.run`."""
        return run(
            self.command(command), env={**self.env(), **(env or {})}, cwd=cwd, stdin=stdin, timeout=timeout, log=log
        )

    def command(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command line that runs `command` inside, in the caller's folder and while the caller lives."""
        pid = self.pid()
        if pid is None:
            raise WorkbenchError("there is no running sandbox: type `make up` first")
        flags = ["-t", str(pid), "--net", "--mount", "--pid", "--cgroup", f"--wdns={Path.cwd()}"]
        # nsenter does not forward signals, and a killed process cannot. So the kernel ends the child with its parent
        # (setpriv --pdeathsig). Otherwise the pulumi of a killed `make up` would run beside the next one's.
        with_us, with_nsenter = ["setpriv", "--pdeathsig=KILL"], ["setpriv", "--pdeathsig=TERM"]
        return [*with_us, "nsenter", *flags, "--", *with_nsenter, *(str(word) for word in command)]

    def env(self) -> dict[str, str]:
        """Return the environment of every process inside."""
        path = f"{self.paths.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(THEIRS)}
        ours = {
            # Git, Helm, crane and others look there for settings, credentials and caches: not for the caller's.
            "HOME": str(self.paths.state / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.paths.state / "kube-cache"),
        }
        return {**kept, **ours, "PATH": path}

    def daemon(self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> None:
        """Keep a process running inside: start it unless its last one lives."""
        self._spawn(name, command, network=True, env=env)

    def alive(self, name: str) -> bool:
        """Tell whether the daemon of that name runs."""
        try:
            pid, started = (self.paths.state / f"{name}.pid").read_text().split()
            return _parse_start_time(self._enter(["cat", f"/proc/{pid}/stat"])) == started
        except (OSError, WorkbenchError):
            return False

    def stop(self) -> None:
        """End everything inside and remove what it left, also after a crash, or when there is nothing."""
        self._kill()
        shutil.rmtree(self.paths.state, ignore_errors=True)
        if self.paths.state.exists():
            raise WorkbenchError(f"{self.paths.state} could not be removed: is something mounted there?")

    def _forget_another_boot(self) -> None:
        """Remove the files of a sandbox that a power failure ended: some may be incomplete."""
        boot, file = BOOT_ID.read_text(), self.paths.state / "boot_id"
        if file.exists() and file.read_text() != boot:
            say("  this machine was started anew since the last `make up`: the sandbox begins anew, too")
            for left in [each for each in self.paths.state.iterdir() if each.name != LOCK]:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        (self.paths.state / "home").mkdir(parents=True, exist_ok=True)
        file.write_text(boot)

    def _kill(self) -> None:
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            wait_for("the end of the sandbox", lambda: self.pid() is None, seconds=20, interval=0.1)
        for group in [*sorted(CGROUPS.glob(f"*/{self.paths.name}")), CGROUPS / self.paths.name]:
            _remove_cgroups(group)

    def _spawn(
        self, name: str, command: Sequence[str | Path], *, network: bool, env: Mapping[str, str] | None = None
    ) -> None:
        if self.alive(name):
            return
        # It reads its own start time before it becomes the daemon: a daemon that ends at once could not be looked at.
        daemon = 'read -r stat </proc/$$/stat; echo "$stat"; exec "$@" >>"$LOG" 2>&1'
        script = 'setsid sh -c "$DAEMON" sh "$@" </dev/null &'
        extra = {"DAEMON": daemon, "LOG": str(self.paths.logs / f"{name}.log"), **(env or {})}
        words = ["sh", "-c", script, "sh", *command]
        inside = self.command(words)
        if not network:
            inside.remove("--net")
        # A daemon must be in the sandbox's cgroups, or kubelet would not find itself. It joins them before it enters:
        # where version 2 is mounted with nsdelegate, as by systemd, nobody moves into a cgroup namespace from inside.
        join = ["sh", "-ec", f'{_join(_leaves(self.paths.name))} exec "$@"', "sh"]
        stat = run([*join, *inside], env={**self.env(), **extra}, cwd=self.paths.state)
        (self.paths.state / f"{name}.pid").write_text(f"{stat.split()[0]} {_parse_start_time(stat)}")

    def _enter(self, command: Sequence[str]) -> str:
        return run(self.command(command), env=self.env())

    def _mounts(self) -> str:
        state, debian = self.paths.state, debian_root(self.paths)
        lines = [f"mount -t overlay overlay -o lowerdir={debian}/usr:/usr /usr"]
        # Kubernetes and containerd write below these; here they write into the sandbox's state.
        for folder in ("etc", "var/lib", "var/log"):
            upper, work = state / "overlay" / folder, state / "overlay/.work" / folder
            lower = f"{debian}/{folder}:/{folder}" if (debian / folder).exists() else f"/{folder}"
            lines.append(f"mkdir -p {upper} {work}")
            lines.append(f"mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={work} /{folder}")
        node_resolver = Path(f"/proc/{self._node}/root/etc/resolv.conf")
        resolver = node_resolver.read_text() if self._node else f"nameserver {UPLINK_DNS}"
        # Debian's and Ubuntu's systemd-resolved makes of it a link into /run.
        lines += ["mount -t tmpfs tmpfs /run", "rm -f /etc/resolv.conf"]
        lines.append(f"echo {shlex.quote(resolver)} > /etc/resolv.conf")
        for setting, value in KERNEL_SETTINGS.items():
            fake = f"/run/kernel/{setting}"
            lines += [f"mkdir -p $(dirname {fake}); echo {value} > {fake}", f"mount --bind {fake} /proc/sys/{setting}"]
        return "\n".join([*lines, *_cgroup_mounts()])


def _cgroup_controllers() -> list[str]:
    """Return the names of the mounted cgroup v1 hierarchies; none on cgroup v2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return []
    listed = Path("/proc/self/cgroup").read_text().splitlines()
    return [names for _, names, _ in (line.split(":", 2) for line in listed) if names]


def _groups(name: str) -> list[Path]:
    """Return the sandbox's cgroups, one for each hierarchy."""
    controllers = _cgroup_controllers()
    return [CGROUPS / controller.removeprefix("name=") / name for controller in controllers] or [CGROUPS / name]


def _leaves(name: str) -> list[Path]:
    """Return the cgroups that the sandbox's own processes live in: version 2 lets only leaves hold any."""
    return _groups(name) if _cgroup_controllers() else [CGROUPS / name / "init"]


def _join(groups: list[Path]) -> str:
    """Return the shell commands that move the shell itself into cgroups."""
    return "".join(f"echo 0 > {group}/cgroup.procs; " for group in groups)


def _make_cgroups(name: str) -> list[Path]:
    groups = _groups(name)
    for group in groups:
        group.mkdir(exist_ok=True)
        # No process can join a new cpuset, which is empty: give it its parent's values. On version 2, whose
        # root has no such files, an empty cpuset has its parent's values already.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (group / file).exists() and (group.parent / file).exists():
                (group / file).write_text((group.parent / file).read_text())
    return groups


def _pass_controllers_on(name: str) -> None:
    """Let pods have cgroups with controllers below the namespace's root, which is the group `name`.

    The root of a cgroup namespace is the cgroup in which its first process started. Only
    a process outside of the namespace can move that process, and `unshare` itself, to a leaf.
    """
    group = CGROUPS / name
    if _cgroup_controllers():
        return
    (group / "init").mkdir(exist_ok=True)
    for pid in (group / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            (group / "init/cgroup.procs").write_text(pid)
    controllers = (group / "cgroup.controllers").read_text().split()
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in controllers))


def _cgroup_mounts() -> list[str]:
    controllers = _cgroup_controllers()
    # Version 2 needs the tmpfs, too: the kernel does not mount cgroup2 on top of a cgroup2.
    lines = ["mount -t tmpfs tmpfs /sys/fs/cgroup"]
    if not controllers:
        lines.append("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    for controller in controllers:
        folder = f"/sys/fs/cgroup/{controller.removeprefix('name=')}"
        option = f"none,{controller}" if controller.startswith("name=") else controller
        lines.append(f"mkdir {folder}; mount -t cgroup -o {option} cgroup {folder}")
    return lines


def _remove_cgroups(group: Path) -> None:
    if not group.exists():
        return
    deadline = time.monotonic() + 10
    while group.exists():
        # Children first. The kernel needs a moment to remove killed processes. A process may live that no pid file
        # names: the sandbox's first one, if `make up` was killed before it wrote the file.
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                for pid in (Path(folder) / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                Path(folder).rmdir()
        if time.monotonic() > deadline:
            raise WorkbenchError(f"{group} could not be removed: it still has processes")
        time.sleep(0.05)


def _start_time(pid: int) -> str:
    """Return the kernel's start time of a process, which tells it from a later one of the same id."""
    return _parse_start_time(Path(f"/proc/{pid}/stat").read_text())


def _parse_start_time(stat: str) -> str:
    # proc(5): field 22; the second field, the command in parentheses, may hold spaces.
    return stat.rpartition(")")[2].split()[19]
