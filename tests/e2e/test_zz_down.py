"""The end of a sandbox. This file comes last: it ends the one that the other tests use."""

import dataclasses

import pytest

from tests.e2e.conftest import LIMIT
from tests.e2e.traces import snapshot
from workbench.cluster import report
from workbench.cluster.requests import Request
from workbench.paths import Paths
from workbench.sandbox import stack, steps
from workbench.sandbox.namespaces import Sandbox

pytestmark = pytest.mark.e2e


def test_down_leaves_the_machine_as_it_was_and_up_works_again(
    sandbox: Sandbox, paths: Paths, of_kind: str | None
) -> None:
    if of_kind:
        pytest.skip("the cluster is kind's, which ends it")
    sandbox.stop()
    before = snapshot(paths)
    assert before.processes == frozenset()
    assert not paths.state.exists()

    steps.up(paths, Request(limit=LIMIT))
    assert report.scores(sandbox, stack.NAME)
    during = snapshot(paths)
    assert during.processes, "the comparison would not see a sandbox's processes"
    assert any(paths.name in group for group in during.cgroups), "nor its cgroups"

    sandbox.stop()
    after = snapshot(paths)
    for field in dataclasses.fields(before):
        left = getattr(after, field.name) - getattr(before, field.name)
        assert not left, f"{field.name} left behind: {sorted(left)}"
    # What was there before the sandbox still is, too.
    assert before.mounts <= after.mounts
    assert before.interfaces == after.interfaces
    assert before.firewall == after.firewall
