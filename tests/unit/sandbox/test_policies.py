"""A kernel that cannot enforce NetworkPolicies is told of; that others do, `tests/e2e/test_network.py` shows."""

from pathlib import Path

import pytest

from workbench.paths import Paths
from workbench.sandbox.cluster import enforce_policies
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError


def test_a_kernel_without_ip_sets_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace = Sandbox(Paths(cache=tmp_path, name="without"))

    def refused(command: list[str]) -> str:
        raise CommandError(command, "exit code 1", "ipset v7.17: Cannot open session to kernel.", None)

    monkeypatch.setattr(namespace, "run", refused)
    enforce_policies(namespace)
    said = capsys.readouterr().out
    assert "NetworkPolicies are not enforced here: ipset v7.17: Cannot open session to kernel." in said
