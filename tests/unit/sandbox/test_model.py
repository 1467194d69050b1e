"""What serves the sandbox's model: chosen by SERVER, refused where the machine is too small for it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench import commands
from workbench.cluster.requests import DeployRequest
from workbench.options import Options
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import doctor, model, stack
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import WorkbenchError
from workbench.toolchain.vllm import provide


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A sandbox that was never started."""
    found = Paths(cache=tmp_path, name="vllm-eval-test-model")
    found.state.mkdir(parents=True)
    return found


@pytest.mark.parametrize(
    ("server", "endpoint", "said"),
    [
        ("tgi", "", "SERVER is 'tgi': it is one of llama.cpp and vllm"),
        ("vllm", "http://h:8000/v1", "leave it out with MODEL_ENDPOINT"),
    ],
)
def test_a_wrong_server_is_refused_with_the_cure(server: str, endpoint: str, said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        model.check(server, DeployRequest(endpoint=endpoint, model="m"))


def test_a_server_serves_no_cluster_of_the_callers(paths: Paths) -> None:
    with pytest.raises(WorkbenchError, match="leave it out with CONTEXT"):
        commands.chosen(paths, Options("up", context="mine", server="vllm"))


def test_a_machine_too_small_for_vllm_is_refused_with_every_cure(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_available", lambda: 5 * 10**9)
    monkeypatch.setattr(provide, "BYTES", 10**18)
    monkeypatch.setattr(provide, "PYTHON", (3, 9))
    # They start Python twice for what is not asked here.
    monkeypatch.setattr("workbench.cluster.requests.check", lambda _: None)
    monkeypatch.setattr("workbench.cluster.stack.check", lambda *_: None)
    with pytest.raises(WorkbenchError) as error:
        doctor.check(paths, DeployRequest(), model.VLLM)
    for said in (
        "5.0 GB of memory are available, the sandbox with vLLM needs 10: end other programs, or leave SERVER=vllm out",
        "vLLM needs 1000000000: free some, or set VLLM_EVAL_CACHE",
        "locked for Python 3.9",
    ):
        assert said in str(error.value)
    assert list(model.lacks(paths, "")) == []


def test_vllms_answers_never_count_as_llama_cpps(paths: Paths) -> None:
    assert stack.overrides(Sandbox(paths), DeployRequest()) == {}
    [only] = stack.overrides(Sandbox(paths, server=model.VLLM), DeployRequest())["models"]
    assert only == {
        **yaml.safe_load((REPOSITORY / "Pulumi.local.yaml").read_text())["config"]["vllm-eval:models"][0],
        "tag": "vllm",
    }


@pytest.mark.parametrize("base", ["/usr", "/opt/hosted/python"])
def test_the_pod_mounts_what_it_runs_and_may_write_none_of_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    applied: list[Any] = []
    monkeypatch.setattr(model, "kubectl", lambda *_, stdin: applied.extend(yaml.safe_load_all(stdin)))
    monkeypatch.setattr("sys.base_prefix", base)
    model.start(Sandbox(paths, server=model.VLLM))
    pod = next(each for each in applied if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    python = "/opt/python" if base != "/usr" else "/usr"
    assert container["command"][0].startswith(f"{python}/bin/python3")
    assert ("/opt/python" in mounts) == (base != "/usr")
    assert all(each.get("readOnly") for path, each in mounts.items() if path.startswith("/opt"))
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["automountServiceAccountToken"] is False
    assert {each["name"] for each in pod["volumes"]} == {each["name"] for each in container["volumeMounts"]}
