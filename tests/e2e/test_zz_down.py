"""The end of a sandbox. This file comes last: it ends the one that the other tests use."""

import dataclasses

import pytest

from tests.e2e.traces import Traces, snapshot
from workbench.paths import Paths
from workbench.sandbox.namespaces import Sandbox

pytestmark = pytest.mark.e2e


def test_down_leaves_the_machine_as_it_was_before_up(
    sandbox: Sandbox, paths: Paths, machine_before: Traces | None
) -> None:
    if machine_before is None:
        pytest.skip("the cluster was there before the suite")
    during = snapshot(paths)
    assert during.processes, "the comparison would not see a sandbox's processes"
    assert any(paths.name in group for group in during.cgroups), "nor its cgroups"

    sandbox.stop()
    assert not paths.state.exists()
    after = snapshot(paths)
    assert after.processes == frozenset()
    for field in dataclasses.fields(machine_before):
        left = getattr(after, field.name) - getattr(machine_before, field.name)
        assert not left, f"{field.name} left behind: {sorted(left)}"
    # What was there before the sandbox still is, too.
    assert machine_before.mounts <= after.mounts
    assert machine_before.interfaces == after.interfaces
    assert machine_before.firewall == after.firewall
