"""What `make up` does, in order; each step is idempotent, so a broken `up` is run again."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from workbench.cluster import evaluation
from workbench.cluster.requests import DeployRequest
from workbench.paths import Paths
from workbench.sandbox import chart, ci, cluster, doctor, failure, git, images, model, monitoring, stack
from workbench.sandbox.namespaces import LOCK, Sandbox
from workbench.shell import WorkbenchError, stage
from workbench.toolchain import tools

PATIENCE: Final = 1800.0
# A cluster on this machine that does not answer for so many seconds has ended.
OUTAGE: Final = 60.0
Step = Callable[[Sandbox], None]


def check(sandbox: Sandbox) -> None:
    """Refuse, before anything is changed, a machine that lacks something or a request that cannot be met."""
    doctor.check(sandbox.paths, sandbox.request, sandbox.server)


def build_tools(sandbox: Sandbox) -> None:
    """Build or find the tools that a sandbox is made of."""
    tools.build_for_up(sandbox.paths)
    model.provide(sandbox)


def start_cluster(sandbox: Sandbox) -> None:
    """Bring up the namespaces and a node that is Ready."""
    sandbox.start()
    sandbox.connect()
    cluster.write_config(sandbox, images.store(sandbox.paths))
    cluster.start_control_plane(sandbox)
    images.start(sandbox)
    images.provide_pause(sandbox)
    cluster.start_node(sandbox)
    cluster.enforce_policies(sandbox)
    cluster.provide_storage_class(sandbox)
    cluster.provide_volumes(sandbox)


def provide_images(sandbox: Sandbox) -> None:
    """Build the images that are not in the cache."""
    images.provide_base(sandbox)
    images.provide_services(sandbox)
    if not model.by_vllm(sandbox.server):
        images.provide_model(sandbox)


def start_services(sandbox: Sandbox) -> None:
    """Start what a production cluster has beside the stack: Prometheus, a served model."""
    monitoring.install(sandbox)
    model.start(sandbox)


def publish(sandbox: Sandbox) -> None:
    """Push the working tree and, if its evaluation code changed, the image and its digest, as CI would."""
    git.start(sandbox)
    git.publish(sandbox)
    ci.build_image(sandbox)


def wait_for_services(sandbox: Sandbox) -> None:
    """Wait for Prometheus and the model, which started while the image was built."""
    monitoring.wait(sandbox)
    model.wait(sandbox)


def deploy(sandbox: Sandbox) -> None:
    """Run `pulumi up` of the stack `local`."""
    chart.write(sandbox.paths.state)
    stack.up(sandbox)


def evaluate(sandbox: Sandbox) -> None:
    """Wait until the evaluation that Argo CD started is over and its scores are in Prometheus."""
    recorded = git.recorded(sandbox, git.COMMIT_PATH)

    def pending(found: evaluation.JobState | None) -> str:
        if found and found.git_commit == recorded:
            return ""
        return evaluation.sync_state(evaluation.application(sandbox))

    evaluation.follow(sandbox, pending, stack=stack.NAME, seconds=PATIENCE, outage=OUTAGE)


STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("prerequisites", check),
    ("tools", build_tools),
    ("cluster", start_cluster),
    ("images", provide_images),
    ("Prometheus and the model", start_services),
    ("git and the evaluation image", publish),
    ("services ready", wait_for_services),
    ("pulumi up", deploy),
    ("evaluation", evaluate),
)


def up(paths: Paths, request: DeployRequest | None = None, server: str = "") -> Sandbox:
    """Run every step, for what the caller asks for and with the server that is to serve the sandbox's model.

    Raises
    ------
    WorkbenchError
        Names the step that failed, its likely cause and the folder with all logs.
    """
    sandbox = Sandbox(paths, request=request, server=server)
    with ExitStack() as held:
        for number, (title, step) in enumerate(STEPS):
            if number == 1:  # the first step changes nothing, not even by a lock
                held.enter_context(_alone(paths))
            try:
                with stage(title):
                    step(sandbox)
            except WorkbenchError as error:
                raise failure.explained(sandbox, title, error) from error
    return sandbox


@contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    """Refuse to work beside another `make up` of the same clone; the file tells `make down` whom to interrupt."""
    paths.state.mkdir(parents=True, exist_ok=True)
    with (paths.state / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkbenchError(
                "another `make up` of this clone is at work: wait for it, or end everything by `make down`"
            ) from error
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield
