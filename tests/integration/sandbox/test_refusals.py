"""Bad situations get one clear error before anything is changed."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.kernel import needs_mounts, own_mounts
from tests.support.ports import free_port, own_address
from tests.support.serving import Answer, Asked, answering
from workbench import commands
from workbench.cli import main
from workbench.cluster import requests, stack
from workbench.cluster.requests import DeployRequest
from workbench.options import Options
from workbench.paths import REPOSITORY, Paths
from workbench.sandbox import doctor
from workbench.sandbox.namespaces import Sandbox
from workbench.sandbox.stack import overrides
from workbench.shell import WorkbenchError


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A sandbox that was never started."""
    # The process's own name: `down` ends whatever it finds in cgroups of that name.
    return Paths(cache=tmp_path, name=f"vllm-eval-test-refusals-{os.getpid()}")


def test_all_missing_prerequisites_are_reported_at_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "FIRST_BYTES", {"VLLM_EVAL_CACHE": 10**18})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WorkbenchError) as error:
        doctor.check(paths, DeployRequest(limit="few"))
    text = str(error.value)
    for said in (
        "not root",
        "no `go`",
        "no `git`: apt-get install git",
        "set VLLM_EVAL_CACHE to a folder",
        "LIMIT is 'few'",
    ):
        assert said in text
    assert list(paths.cache.iterdir()) == []


def test_a_cache_that_the_sandbox_would_hide_is_refused(paths: Paths) -> None:
    hidden = dataclasses.replace(paths, cache=Path("/var/lib/vllm-eval"))
    assert any("set VLLM_EVAL_CACHE" in problem for problem in doctor.problems(hidden))


def test_a_command_without_a_sandbox_says_what_to_type(paths: Paths) -> None:
    with pytest.raises(WorkbenchError, match="type `make up` first"):
        Sandbox(paths).run(["true"])


def test_down_without_a_sandbox_is_no_error(paths: Paths) -> None:
    Sandbox(paths).stop()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (DeployRequest(model="m"), "MODEL_ENDPOINT and MODEL go together"),
        (DeployRequest(endpoint="http://h:8000/v1"), "MODEL_ENDPOINT and MODEL go together"),
        (DeployRequest(limit="few"), "LIMIT is 'few': give a number"),
        (DeployRequest(limit="0"), "LIMIT is '0': give a number"),
        (DeployRequest(model="m", endpoint="vllm:8000"), "MODEL_ENDPOINT is 'vllm:8000': write an address such as"),
        (DeployRequest(model="m", endpoint="http://vllm:port/v1"), "'http://vllm:port/v1': write an address such as"),
        (DeployRequest(model="m", endpoint="http://localhost:8000/v1"), "the pods have a loopback of their own"),
    ],
)
def test_a_wrong_option_is_named_with_its_value_and_the_cure(request_: DeployRequest, said: str) -> None:
    with pytest.raises(WorkbenchError, match=said):
        requests.check(request_)


def test_an_endpoint_that_does_not_answer_is_named() -> None:
    endpoint = f"http://{own_address()}:{free_port(own_address())}/v1"
    with pytest.raises(WorkbenchError, match=rf"MODEL_ENDPOINT is '{endpoint}', and it does not answer: .*refused"):
        requests.check(DeployRequest(model="m", endpoint=endpoint))


def test_an_endpoint_that_asks_for_a_key_answers() -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Answer:
        asked.append(request.path)
        return Answer(401)

    with answering(answer, own_address()) as address:
        requests.check(DeployRequest(model="m", endpoint=f"http://{address}/v1/"))
    assert asked == ["/v1/models"]


@pytest.mark.parametrize("absent", ["go", *doctor.PROGRAMS])
def test_each_program_that_is_missing_is_named_alone(
    absent: str, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = doctor.problems(paths)
    folder = tmp_path / "path"
    folder.mkdir()
    for name in {"go", *doctor.PROGRAMS} - {absent}:
        (folder / name).symlink_to(shutil.which(name) or "/nowhere")
    monkeypatch.setenv("PATH", str(folder))
    (problem,) = [each for each in doctor.problems(paths) if each not in usual]
    assert problem.startswith(f"there is no `{absent}`: ")


@pytest.mark.parametrize(
    ("version", "refused"),
    [("go1.19.8", True), ("go1.20rc1", True), ("go1.21.0", False), ("go1.26.8", False), ("devel go1.30-abc", False)],
)
def test_a_go_that_fetches_no_newer_one_is_refused(
    version: str, refused: bool, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "go").write_text(
        f'#!/bin/sh\necho \'{{"GOVERSION": "{version}", "GOCACHE": "/", "GOMODCACHE": "/"}}\'\n'
    )
    (tmp_path / "go").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    told = [each for each in doctor.problems(paths) if "install Go 1.21 or newer" in each]
    assert told == ([f"`go` is {version}: install Go 1.21 or newer, and put its bin folder first on PATH"] * refused)


def test_folders_on_one_disk_are_added_up(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(paths.cache).free
    monkeypatch.setattr(doctor, "FIRST_BYTES", {"VLLM_EVAL_CACHE": free // 2, "GOCACHE": 0, "GOMODCACHE": free})
    go = {"GOCACHE": str(paths.cache), "GOMODCACHE": str(paths.cache / "not/yet")}
    (told,) = doctor._full_disks(paths, go)
    assert told.endswith("free some, or set VLLM_EVAL_CACHE or GOCACHE or GOMODCACHE to a folder on another disk")


@needs_mounts
def test_a_disk_that_is_nearly_full_is_named_with_what_is_needed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from workbench.sandbox import doctor; from workbench.paths import Paths\n"
        "print(doctor.problems(Paths(Path(sys.argv[1]) / 'not/yet', 'test')))"
    )
    shell = f'mount --make-rprivate /; mount -t tmpfs -o size=50m tmpfs {tmp_path}; exec "$@"'
    command = [*own_mounts(), "sh", "-ec", shell, "sh", sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert f"{tmp_path} has 0.1 GB free, the sandbox needs 8: free some, or set VLLM_EVAL_CACHE" in done.stdout


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"custom_task_1": {"enabled": tru}}', "not JSON"),
        ('{"custom_task_9": {"enabled": true}}', "custom_task_9"),
        ('{"custom_task_1": {"enabled": false}}', "no task is enabled"),
    ],
)
def test_the_runners_refusal_of_the_evaluation_files_comes_first(
    config: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(REPOSITORY / "eval", tmp_path / "eval", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "eval/evalchemy/configs/eval_config.json").write_text(config)
    monkeypatch.setattr(requests, "REPOSITORY", tmp_path)
    with pytest.raises(WorkbenchError, match=said):
        requests.check(DeployRequest())


def test_a_callers_own_model_replaces_the_stacks(paths: Paths) -> None:
    changes = overrides(Sandbox(paths), DeployRequest(endpoint="http://h:8000/v1", model="m", tag="v2"))
    network = {"cidr": "0.0.0.0/0", "port": 8000}
    assert changes["models"] == [{"name": "m", "tag": "v2", "endpoint": "http://h:8000/v1", "network": network}]


@pytest.mark.parametrize(
    ("endpoint", "network"),
    [
        ("http://10.0.0.7:8000/v1", {"cidr": "10.0.0.7/32", "port": 8000}),
        ("http://[fd00::7]:8000/v1", {"cidr": "fd00::7/128", "port": 8000}),
        ("https://models.example.com/v1", {"cidr": "0.0.0.0/0", "port": 443}),
        ("http://vllm.serving.svc.cluster.local/v1", {"namespace": "serving", "port": 80}),
    ],
)
def test_a_callers_own_model_may_be_reached_and_the_program_takes_it(endpoint: str, network: dict[str, Any]) -> None:
    changes = requests.settings(DeployRequest(endpoint=endpoint, model="m"))
    assert changes["models"][0]["network"] == network
    stack.check("local", changes)


def test_a_model_that_the_program_refuses_is_refused_before_anything_is_built(paths: Paths) -> None:
    endpoint = "http://vllm.serving.svc:8000/v1"
    with pytest.raises(WorkbenchError, match=r"vllm-eval:models\[0\]\.name = \" m\""):
        doctor.check(paths, DeployRequest(endpoint=endpoint, model=" m"))
    assert list(paths.cache.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("config:\n  vllm-eval:evaluation:\n    limt: 3\n", r"vllm-eval:evaluation.limt = 3: unknown key"),
        ("config:\n  vllm-eval:typo: 3\n", r"vllm-eval:typo = .*: unknown key"),
        ("config: {\n", r"Pulumi.local.yaml: is no YAML"),
        ("- config\n", r"Pulumi.local.yaml is no stack file"),
    ],
)
def test_a_wrong_stack_file_is_refused_with_key_and_cure(
    text: str, said: str, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("components", "monitoring", "eval"):
        (clone / name).symlink_to(REPOSITORY / name)
    (clone / "Pulumi.local.yaml").write_text(text)
    monkeypatch.setattr(stack, "REPOSITORY", clone)
    with pytest.raises(WorkbenchError, match=said):
        doctor.check(dataclasses.replace(paths, cache=tmp_path / "cache"), DeployRequest())
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "interrupted; run `make up` again to go on, `make down` to remove everything"),
        (["--context", "mine"], "an evaluation that has begun goes on in the cluster of 'mine'"),
    ],
)
def test_an_interrupt_says_what_goes_on_and_what_to_type(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(paths: Paths, options: Options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "COMMANDS", {"up": interrupted})
    assert main(["up", *words]) == 1
    assert said in capsys.readouterr().err
