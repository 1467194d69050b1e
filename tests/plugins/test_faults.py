"""What a user reads when something is wrong, and what the state holds after it."""

import time
from pathlib import Path

import pytest

from tests.plugins.engine import CANARY, Stack
from tests.support.apiserver import ApiServer
from tests.support.ports import free_port

WORKLOAD = """
    canary = pulumi.Config().require_secret("canary")
    k8s.apps.v1.Deployment(
        "workload",
        metadata={"name": "faults", "annotations": {}},
        spec={
            "selector": {"matchLabels": {"app": "faults"}},
            "template": {"metadata": {"labels": {"app": "faults"}}, "spec": {"containers": [
                {"name": "c", "image": "none", "env": [{"name": "KEY", "value": canary}]},
            ]}},
        },
        opts=pulumi.ResourceOptions(
            provider=provider, custom_timeouts=pulumi.CustomTimeouts(create="3s", update="300s", delete="3s")
        ),
    )
"""
UNREADY = "Deployment default/faults was not available"


def test_a_workload_that_never_runs_is_kept_and_gone_on_with(stack: Stack, server: ApiServer) -> None:
    stack.program(WORKLOAD)
    done = stack.up(check=False)
    assert done.code != 0
    assert f"{UNREADY} within 3 s: Available: Deployment does not have minimum availability." in done.out
    # The object is the stack's: it is not met as somebody else's next time.
    assert stack.resources()["workload"]["id"] == "default/faults"

    # Ctrl-C ends the wait of up to 300 s at once, and the state is whole.
    rest = stack.interrupted_up("workload updating", pause=0.5, within=20)
    assert f"{UNREADY} when the update was interrupted" in rest
    assert "Traceback" not in rest

    stack.refresh()
    assert CANARY not in stack.state()
    assert CANARY not in rest

    waiting = '"annotations": {"pulumi.com/waitFor": "condition=Progressing"}'
    stack.program(WORKLOAD.replace('"annotations": {}', waiting))
    stack.up()
    assert "initErrors" not in stack.resources()["workload"]

    patch = '--patch={"metadata":{"finalizers":["example.com/held"]}}'
    server.kubectl("patch", "deployment", "faults", "--type=merge", patch)
    held = stack.destroy(check=False)
    assert held.code != 0
    assert "Deployment default/faults was not gone within 3 s: finalizers example.com/held" in held.out
    server.kubectl("patch", "deployment", "faults", "--type=merge", '--patch={"metadata":{"finalizers":null}}')
    stack.destroy()


def test_an_unreachable_cluster_is_one_sentence(stack: Stack, server: ApiServer, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{free_port()}"
    lost = tmp_path / "lost"
    lost.write_text(server.kubeconfig.read_text().replace(server.url, url))
    stack.environment["KUBECONFIG"] = str(lost)
    stack.program(
        """
        for index in range(30):
            k8s.core.v1.ConfigMap(f"c{index}", metadata={"name": f"c{index}"}, opts=opts)
        """
    )
    started = time.monotonic()
    done = stack.pulumi("preview", "--diff", check=False)
    assert time.monotonic() - started < 20
    assert done.code != 0
    assert done.out.count(f"the API server {url} (context loopback) does not answer: Connection refused") == 1
    assert "Traceback" not in done.out


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ('raise SystemExit("settings: a and b are missing")', "error: settings: a and b are missing\n"),
        ('raise pulumi.RunError("settings: c is wrong")', "error: settings: c is wrong\n"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'\n"),
        ("pulumi.Output.from_input({}).apply(lambda value: value['key'])", "KeyError: 'key'\n"),
    ],
)
def test_what_is_wrong_with_the_program_is_told_once(stack: Stack, program: str, told: str) -> None:
    stack.program(program)
    done = stack.pulumi("preview", "--diff", check=False)
    assert done.code != 0
    assert done.out.count(told) == 1
    assert ("Traceback" in done.out) == ("Error: " in told)
    # Where it went wrong is the program, not what started it.
    assert "runpy" not in done.out
    assert done.out.count("__main__.py") == done.out.count("Traceback")
