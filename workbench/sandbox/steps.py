"""What `make up` does, in order; each step is idempotent, so a broken `up` is run again."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from workbench.cluster import evaluation
from workbench.cluster.kubectl import kubectl, rollout
from workbench.cluster.requests import Request
from workbench.layout import Layout
from workbench.sandbox import chart, ci, cluster, doctor, failure, git, images, monitoring, stack
from workbench.sandbox.cluster import MANIFESTS
from workbench.sandbox.namespace import LOCK, Namespace
from workbench.shell import SandboxError, stage
from workbench.toolchain import tools

PATIENCE: Final = 1800.0
Step = Callable[[Namespace], None]


def check(namespace: Namespace) -> None:
    """Refuse a machine that lacks something and a request that cannot be met, before anything is changed."""
    doctor.check(namespace.layout, namespace.request)


def build_tools(namespace: Namespace) -> None:
    """Build or find the tools that a sandbox is made of."""
    tools.build_for_up(namespace.layout)


def start_cluster(namespace: Namespace) -> None:
    """Bring up the namespaces and a node that is Ready."""
    namespace.start()
    namespace.connect()
    cluster.write_config(namespace, images.store(namespace.layout))
    cluster.start_control_plane(namespace)
    images.start(namespace)
    images.provide_pause(namespace)
    cluster.start_node(namespace)
    cluster.enforce_policies(namespace)
    cluster.provide_storage_class(namespace)
    cluster.provide_volumes(namespace)


def provide_images(namespace: Namespace) -> None:
    """Build the images that are not in the cache."""
    images.provide_base(namespace)
    images.provide_services(namespace)
    images.provide_model(namespace)


def start_services(namespace: Namespace) -> None:
    """Start what a production cluster has beside the stack: Prometheus, a served model."""
    monitoring.install(namespace)
    kubectl(namespace, "apply", "-f", str(MANIFESTS / "model.yaml"))


def publish(namespace: Namespace) -> None:
    """Push the working tree and, if its evaluation code changed, the image and its digest, as CI would."""
    git.start(namespace)
    git.publish(namespace)
    ci.build_image(namespace)


def wait_for_services(namespace: Namespace) -> None:
    """Wait for Prometheus and the model, which started while the image was built."""
    monitoring.wait(namespace)
    rollout(namespace, "-n serving deployment/model")


def deploy(namespace: Namespace) -> None:
    """Run `pulumi up` of the stack `local`."""
    chart.write(namespace.layout.state)
    stack.up(namespace)


def evaluate(namespace: Namespace) -> None:
    """Wait until the evaluation that Argo CD started is over and its scores are in Prometheus."""
    recorded = git.recorded(namespace, git.COMMIT_PATH)

    def pending(found: evaluation.Job | None) -> str:
        if found and found.git_commit == recorded:
            return ""
        return evaluation.sync_state(evaluation.application(namespace))

    evaluation.follow(namespace, pending, seconds=PATIENCE)


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


def up(layout: Layout, request: Request | None = None) -> Namespace:
    """Run every step, for what the caller asks for.

    Raises
    ------
    SandboxError
        Names the step that failed, its likely cause and the folder with all logs.
    """
    namespace = Namespace(layout, request=request)
    with ExitStack() as held:
        for number, (title, step) in enumerate(STEPS):
            if number == 1:  # the first step changes nothing, not even by a lock
                held.enter_context(_alone(layout))
            try:
                with stage(title):
                    step(namespace)
            except SandboxError as error:
                raise failure.explained(namespace, title, error) from error
    return namespace


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Refuse to work beside another `make up` of the same clone; the file tells `make down` whom to interrupt."""
    layout.state.mkdir(parents=True, exist_ok=True)
    with (layout.state / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SandboxError(
                "another `make up` of this clone is at work: wait for it, or end everything by `make down`"
            ) from error
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield
