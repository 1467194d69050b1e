"""One sandbox for the whole suite: started before the first test, gone after the last, whatever happens.

With ``--kind NAME`` its cluster is that one of kind's, whose network it joins (``kind.py``).
"""

import dataclasses
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from tests.e2e import kind
from tests.e2e.receiver import Receiver
from tests.e2e.traces import Traces, snapshot
from tests.support.ports import claim
from workbench.cluster.context import Context
from workbench.cluster.requests import DeployRequest
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import failure, steps
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import Runner

LIMIT = "50"  # items of each task: enough to see a score, few enough to wait for
BUNDLES = REPOSITORY / "out" / "e2e"  # a folder for each failure
SECOND_STACK = Path(__file__).with_name("test_context.py")


@pytest.fixture(scope="session")
def of_kind(pytestconfig: pytest.Config) -> str | None:
    """The name of kind's cluster on which the suite runs, None on a sandbox of its own."""
    name: str | None = pytestconfig.getoption("kind")
    return name


@pytest.fixture(scope="session")
def paths(of_kind: str | None, pytestconfig: pytest.Config) -> Paths:
    """The suite's own sandbox, beside one that a developer may have running and those of other suites of this clone."""
    if name := pytestconfig.getoption("of_suite"):
        return dataclasses.replace(Paths.of_this_clone(), name=name)
    if of_kind:
        return Paths.of_this_clone("kind")
    for number in count(1):
        found = Paths.of_this_clone("e2e" if number == 1 else f"e2e-{number}")
        with suppress(OSError):
            claim(found.name)
            return found
    raise AssertionError("unreachable")


@pytest.fixture(scope="session")
def machine_before(paths: Paths, of_kind: str | None, pytestconfig: pytest.Config) -> Traces | None:
    """The machine without the sandbox; None where the suite does not start it."""
    if _kept(pytestconfig):
        return None
    Sandbox(paths).stop()  # a suite that was killed left its own
    return None if of_kind else snapshot(paths)


@pytest.fixture(scope="session")
def sandbox(
    paths: Paths, of_kind: str | None, machine_before: Traces | None, pytestconfig: pytest.Config
) -> Iterator[Sandbox]:
    """A sandbox on which `make up` has run."""
    asked = DeployRequest(limit=LIMIT)
    namespace = Sandbox(paths, node=kind.node(of_kind) if of_kind else None, request=asked)
    kept = _kept(pytestconfig)
    if not kept and paths.name.endswith(("e2e", "kind")):  # else the folders are of a suite that runs beside this one
        shutil.rmtree(BUNDLES, ignore_errors=True)
    try:
        if namespace.pid() is None:
            kind.up(namespace, of_kind) if of_kind else steps.up(paths, asked)
        yield namespace
    except BaseException as error:
        error.add_note(keep(namespace, "start"))
        raise
    finally:
        if not kept:
            namespace.stop()


def _kept(config: pytest.Config) -> bool:
    """Tell whether the sandbox is there after the suite; then it may be there before it, too."""
    return bool(config.getoption("keep_sandbox") or config.getoption("of_suite"))


@pytest.fixture(scope="session")
def receiver(sandbox: Sandbox) -> Receiver:
    """The receiver of the cluster's Alertmanager."""
    made = Receiver(sandbox)
    made.start()
    return made


@pytest.fixture(scope="session")
def second_stack(
    sandbox: Sandbox, of_kind: str | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The tests of a second stack on the sandbox's cluster, which run beside the others, and what they print."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "e2e", "-p", "no:cacheprovider", "--durations=8"]
    command += [f"--of-suite={sandbox.paths.name}", *([f"--kind={of_kind}"] if of_kind else []), str(SECOND_STACK)]
    printed = tmp_path_factory.mktemp("second") / "printed"
    with (
        printed.open("w") as output,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output) as process,
    ):
        try:
            yield process, printed
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=180)
                process.kill()


def asks_for_second_stack(items: Iterable[pytest.Item]) -> bool:
    """Tell whether one of these tests has the second stack's run beside it."""
    return any("second_stack" in getattr(item, "fixturenames", ()) for item in items)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the main job first, as `make up` has just left it, and the end of the sandbox last.

    The tests of a second stack run beside the drill, where that is asked for, and not once more after it.
    """
    order = ["test_main_job", "test_network", "test_gitops", "test_drill", "test_context", "test_zz_down"]
    items.sort(key=lambda item: order.index(item.path.stem) if item.path.stem in order else len(order))
    if asks_for_second_stack(items):
        config.hook.pytest_deselected(items=[item for item in items if item.path == SECOND_STACK])
        items[:] = [item for item in items if item.path != SECOND_STACK]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep logs and objects of the moment when a test fails."""
    report = yield
    used = getattr(item, "funcargs", {})
    runner = used.get("sandbox") or getattr(used.get("elsewhere"), "runner", None)
    if report.failed and runner is not None:
        report.sections.append(("cluster", keep(runner, f"{item.name}-{report.when}")))
    return report


def keep(runner: Runner, name: str) -> str:
    """Copy all that a cluster tells, and the logs of Pulumi and of a sandbox's processes, to a folder that CI keeps.

    Returns
    -------
    str
        The folder and the likely causes, for the failure's message.
    """
    folder = BUNDLES / re.sub(r"\W+", "-", name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    failure.collect(runner, folder)
    sources: dict[Path, str] = {}
    if isinstance(runner, Sandbox):
        sources = {runner.paths.logs: "logs", runner.paths.state / "overlay/var/log/pods": "pods-of-before"}
    elif isinstance(runner, Context):
        sources = {runner.logs: "logs"}
    for source, copy in sources.items():
        if source.exists():
            shutil.copytree(source, folder / copy, symlinks=True, ignore_dangling_symlinks=True)
    return f"logs, events and objects: {folder}{failure.causes(runner)}"
