"""Disks that are full or read-only: real file systems of a test's own, so that no error is made up.

Mounting needs root or user namespaces; where a container forbids both, these tests are skipped and the one with
RLIMIT_FSIZE in test_faults_around stands for them.
"""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.kernel import needs_mounts, own_mounts
from tests.support.openai_server import OpenAIServer, Plan
from tests.support.pushgateway import Pushgateway
from tests.support.workspace import Workspace

OWN = [*own_mounts(), "bash", "-euc"]
RUN = f"{shlex.quote(sys.executable)} -m vllm_eval run"
ITEMS = 400

pytestmark = needs_mounts


@dataclass(frozen=True)
class Done:
    """How a script in a mount namespace ended; ``left`` is the copy of what was on the disk."""

    code: int
    errors: str
    left: Path

    def recorded(self) -> int:
        """Count the whole lines of recorded answers."""
        lines = [line for file in (self.left / "answers").rglob("*.jsonl") for line in file.read_bytes().split(b"\n")]
        return sum(_is_json(line) for line in lines)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def on_a_disk(workspace: Workspace, options: str, script: str, **environ: str) -> Done:
    """Run ``script`` with the results on a new tmpfs, and copy what it left."""
    results, left = Path(workspace.environ["VLLM_EVAL_RESULTS"]), workspace.root / "left"
    results.mkdir(exist_ok=True)
    mounted = f"mount -t tmpfs -o {options} tmpfs {results}"
    whole = f"{mounted}; code=0; ({script}) || code=$?; cp -r {results} {left}; exit $code"
    done = subprocess.run(
        [*OWN, whole],
        env={**os.environ, **workspace.environ, **environ},
        cwd=workspace.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stderr, left)


def test_a_full_disk_ends_the_run_and_the_next_attempt_goes_on(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("task", ITEMS)
    server = OpenAIServer(workspace.answers, Plan(accuracy=0.7))
    settings = {"VLLM_EVAL_STACK": "disk", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_RUN_ID": "uid"}
    with workspace.served(server):
        full = on_a_disk(workspace, "size=32k", RUN, **settings)
        assert full.code == 3, full.errors
        assert "cannot write answers to" in full.errors
        assert "disk is full" in full.errors or "No space left on device" in full.errors
        asked, recorded = len(server.requests), full.recorded()
        assert 0 < recorded <= asked < ITEMS / 2, f"a run that cannot keep answers goes on asking: {full.errors}"
        assert pushgateway.values("disk", "vllm_eval_exact_match") == {}
        assert pushgateway.values("disk", "vllm_eval_run_success") == {"task": 0}
        for file in (full.left / "runs").rglob("*.json"):
            assert json.loads(file.read_text())["ended"] is None, "no score, and no half of a record"

        # The claim was made larger.
        server.requests.clear()
        again = on_a_disk(workspace, "size=16m", f"cp -r {full.left}/. results; rm -r {full.left}; {RUN}", **settings)
        assert again.code == 0, again.errors
    assert len(server.requests) == ITEMS - recorded
    assert pushgateway.values("disk", "vllm_eval_exact_match") == {"task": workspace.score("task", 0.7)}
    assert not (again.left / "answers").exists() or list((again.left / "answers").iterdir()) == []


def test_a_disk_that_is_full_at_the_start_is_found_before_the_first_request(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("task", 20)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "no-space", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        fill = "dd if=/dev/zero of=results/filler bs=1k count=64 status=none || true"
        done = on_a_disk(workspace, "size=16k", f"{fill}; {RUN}", **settings)
    assert done.code == 3, done.errors
    assert "No space left on device" in done.errors
    assert server.requests == []
    assert pushgateway.values("no-space", "vllm_eval_run_success") == {"task": 0}
    assert [path.name for path in done.left.rglob("*.json*")] == []


def test_a_read_only_disk_is_found_before_the_first_request(workspace: Workspace, pushgateway: Pushgateway) -> None:
    workspace.add_task("task", 20)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "read-only", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        done = on_a_disk(workspace, "ro", RUN, **settings)
    assert done.code == 3, done.errors
    assert "Read-only file system" in done.errors
    assert "set --out (VLLM_EVAL_RESULTS)" in done.errors
    assert server.requests == []
    assert pushgateway.values("read-only", "vllm_eval_run_success") == {"task": 0}
    assert pushgateway.values("read-only", "vllm_eval_exact_match") == {}
    assert list(done.left.iterdir()) == []


def test_a_disk_that_becomes_read_only_keeps_the_last_good_score_shown(
    workspace: Workspace, pushgateway: Pushgateway
) -> None:
    workspace.add_task("task", 20)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "becomes-ro", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with workspace.served(server):
        done = on_a_disk(workspace, "size=16m", f"{RUN}; mount -o remount,ro results; {RUN}", **settings)
    assert done.code == 3, done.errors
    assert len(server.requests) == 20
    assert pushgateway.values("becomes-ro", "vllm_eval_exact_match") == {"task": 1.0}
    assert pushgateway.values("becomes-ro", "vllm_eval_run_success") == {"task": 0}
    assert len(list((done.left / "runs").rglob("result.json"))) == 1
