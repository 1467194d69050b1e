"""A stage that fails says which, why and where everything is; real processes, real namespaces."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.sandbox.conftest import Program
from workbench import commands
from workbench.options import Options
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import failure, steps
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError, run, wait_for

WARNING = {"involvedObject": {"name": "evalchemy-0-x"}, "reason": "Failed", "message": "Failed to pull image"}


def failing(title: str, step: Callable[[Sandbox], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the stage of that title do `step`, those before it nothing, and return the error of `make up`."""
    titles = [each for each, _ in steps.STEPS]
    done: list[str] = []
    fakes = [(each, step if each == title else lambda _, each=each: done.append(each)) for each in titles]
    monkeypatch.setattr(steps, "STEPS", fakes)
    with pytest.raises(WorkbenchError) as error:
        steps.up(Paths.of_this_clone())
    assert done == titles[: titles.index(title)]
    return str(error.value)


@pytest.mark.parametrize("title", [title for title, _ in steps.STEPS[1:]])
def test_every_stage_names_itself_the_cause_and_the_folder(
    title: str, empty_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths.of_this_clone()
    paths.logs.mkdir(parents=True)

    def step(namespace: Sandbox) -> None:
        raise WorkbenchError("exit code 1 of: something\nits own last line")

    text = failing(title, step, monkeypatch)
    assert text.startswith(f"{title}: exit code 1 of: something\nits own last line")
    assert f"logs, events and objects: {paths.logs}" in text
    assert "`make up` goes on from here" in text


def test_the_first_stage_has_changed_nothing_and_names_no_folder(
    empty_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(namespace: Sandbox) -> None:
        raise WorkbenchError("this machine lacks something")

    assert failing("prerequisites", step, monkeypatch) == "this machine lacks something"
    assert not Paths.of_this_clone().state.exists()


def test_a_command_that_hangs_is_quoted_and_its_output_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs/slow.log"
    with pytest.raises(WorkbenchError) as error:
        run(["sh", "-c", "echo waiting for the lock; exec sleep 60"], timeout=5, log=log)
    assert str(error.value).startswith("still running after 5 s of: sh -c")
    assert f"\nwaiting for the lock\n(all of it: {log})" in str(error.value)
    assert log.read_text() == "waiting for the lock\n"


def test_a_process_that_died_is_quoted(sandbox: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("kubectl", "echo connection refused >&2; exit 1")

    def step(namespace: Sandbox) -> None:
        namespace.daemon("lives", ["sleep", "60"])
        namespace.daemon("etcd", ["sh", "-c", "echo listening; echo 'bind: address already in use' >&2; exit 3"])
        wait_for("the API server", lambda: False, seconds=3)

    text = failing("cluster", step, monkeypatch)
    assert "cluster: the API server: timed out after 3 s" in text
    assert "likely cause:\n  etcd has ended:\n    listening\n    bind: address already in use" in text
    assert "lives has ended" not in text


def test_a_daemon_that_ends_at_once_is_told_as_ended(sandbox: Sandbox, program: Program) -> None:
    program("cat", 'sleep 0.5; exec /bin/cat "$@"')  # a busy machine
    sandbox.daemon("etcd", ["sh", "-c", "echo 'bind: address already in use' >&2; exit 3"])
    wait_for("its end", lambda: not sandbox.alive("etcd"), seconds=30)
    assert "etcd has ended:\n    bind: address already in use" in failure.causes(sandbox)


def test_the_clusters_warnings_are_quoted_and_its_objects_kept(
    sandbox: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = json.dumps({"items": [WARNING, WARNING]})
    program("kubectl", f'case "$*" in *Warning*) echo \'{events}\' ;; *) echo "said to: $*" ;; esac')

    def step(namespace: Sandbox) -> None:
        raise WorkbenchError("still running after 180 s")

    text = failing("services ready", step, monkeypatch)
    assert text.count("evalchemy-0-x: Failed: Failed to pull image") == 1
    for name, words in {"events.txt": "get events", "objects.yaml": "get pods,jobs", "pods.txt": "describe"}.items():
        assert f"said to: {words}" in (sandbox.paths.logs / name).read_text()


def test_status_tells_what_there_is_before_all_is_there(
    sandbox: Sandbox, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    program("kubectl", 'case "$*" in *jobs*) echo "the jobs" ;; *) echo "no such kind" >&2; exit 1 ;; esac')
    sandbox.daemon("lives", ["sleep", "60"])
    sandbox.daemon("etcd", ["false"])
    wait_for("the end", lambda: not sandbox.alive("etcd"), seconds=30)
    commands.status(sandbox.paths, Options("status"))
    said = capsys.readouterr().out
    for line in (r"etcd +has ended", r"lives +runs", "not yet: no such kind", "the jobs"):
        assert re.search(line, said), said


def test_who_reads_no_further_gets_no_traceback(sandbox: Sandbox) -> None:
    for daemon in ("one", "two"):
        sandbox.daemon(daemon, ["sleep", "60"])
    script = '"$0" -m workbench status | head -n 1'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("one")
    assert done.stderr == ""
