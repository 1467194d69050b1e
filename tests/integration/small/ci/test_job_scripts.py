"""What the workflows' own scripts do for a job: names, logins, room on the disk, kubectl, login plugins."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.serving import Answer, Asked, answering
from workbench.paths import REPOSITORY

SCRIPTS: Final = REPOSITORY / "workbench" / "ci"


def run(script: str, *words: str, path: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable] if script.endswith(".py") else []
    given = {"PATH": path or os.environ["PATH"], **env}
    return subprocess.run(
        [*command, str(SCRIPTS / script), *words], env=given, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "name", "registry"),
    [
        ("", "ghcr.io/acme/vllm-eval-evalchemy", "ghcr.io"),
        ("harbor.example.com:8443/ML/eval", "harbor.example.com:8443/ml/eval", "harbor.example.com:8443"),
        (
            "1.dkr.ecr.eu-central-1.amazonaws.com/eval", "1.dkr.ecr.eu-central-1.amazonaws.com/eval",
            "1.dkr.ecr.eu-central-1.amazonaws.com",
        ),
    ],
)  # fmt: skip
def test_an_image_is_named_in_any_registry(tmp_path: Path, given: str, name: str, registry: str) -> None:
    output = tmp_path / "output"
    done = run("image_name.sh", GITHUB_OUTPUT=str(output), GITHUB_REPOSITORY_OWNER="Acme", IMAGE_NAME=given)
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"name={name}\nregistry={registry}\n"


@pytest.mark.parametrize("given", ["eval", "https://harbor.example.com/eval", "harbor.example.com/eval:v1"])
def test_a_name_that_is_none_is_refused_with_the_cure(tmp_path: Path, given: str) -> None:
    done = run("image_name.sh", GITHUB_OUTPUT=str(tmp_path / "o"), GITHUB_REPOSITORY_OWNER="a", IMAGE_NAME=given)
    assert done.returncode == 2
    assert f"IMAGE_NAME is '{given}': write REGISTRY/PATH without a tag" in done.stderr


def test_a_login_is_crane_s_and_the_steps_that_follow_inspect(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    given = {"DOCKER_CONFIG": str(tmp_path), "GITHUB_ACTOR": "me", "GITHUB_ENV": str(environment)}
    done = run("registry_login.sh", "harbor.example.com", **given, REGISTRY_TOKEN="pass", REGISTRY_USERNAME="robot")
    assert done.returncode == 0, done.stderr
    assert "harbor.example.com" in json.loads((tmp_path / "config.json").read_text())["auths"]
    assert environment.read_text() == "INSPECT=crane manifest\n"
    assert "pass" not in done.stdout + done.stderr

    environment.unlink()
    done = run("registry_login.sh", "harbor.example.com", **given)
    assert done.returncode == 0
    assert "digests are compared" in done.stdout
    assert not environment.exists()


def test_room_is_made_below_the_runners_root_and_nowhere_else(tmp_path: Path) -> None:
    for name in ("usr/share/dotnet/sdk", "opt/ghc", "usr/share/doc"):
        (tmp_path / name).mkdir(parents=True)
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (fake / "sudo").chmod(0o755)
    done = run("free_space.sh", f"{tmp_path}/", path=f"{fake}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert sorted(str(each.relative_to(tmp_path)) for each in (tmp_path / "usr/share").iterdir()) == ["usr/share/doc"]
    assert not (tmp_path / "opt/ghc").exists()
    assert run("free_space.sh").returncode != 0, "without a root nothing is touched"


@contextmanager
def mirror(files: dict[str, bytes]) -> Iterator[str]:
    def answer(asked: Asked) -> Answer:
        found = next((data for name, data in files.items() if asked.path.endswith(f"/{name}")), None)
        return Answer(404) if found is None else Answer(200, found)

    with answering(answer) as address:
        yield f"http://{address}/release"


def test_kubectl_is_what_its_checksum_says_or_it_is_not_there(tmp_path: Path) -> None:
    program = b"#!/bin/sh\necho kubectl\n"
    good, bad = hashlib.sha256(program).hexdigest(), hashlib.sha256(b"other").hexdigest()
    installed = tmp_path / "bin" / "kubectl"
    for checksum, code in ((bad, 1), (good, 0)):
        with mirror({"kubectl": program, "kubectl.sha256": checksum.encode()}) as address:
            done = run("kubectl.sh", VLLM_EVAL_CACHE=str(tmp_path), KUBECTL_MIRROR=address)
        assert (done.returncode == 0) == (code == 0), done.stderr
        assert installed.exists() == (code == 0)
    assert subprocess.run([installed], capture_output=True, text=True, check=True).stdout == "kubectl\n"


def test_what_a_kubeconfig_logs_in_with_is_installed_or_named(tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    log = tmp_path / "log"
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    apt.chmod(0o755)

    def plugins(*commands: str) -> subprocess.CompletedProcess[str]:
        users = [{"name": each, "user": {"exec": {"command": each}}} for each in commands]
        config.write_text(json.dumps({"users": [*users, {"name": "t", "user": {"token": "x"}}]}))
        return run("exec_plugins.py", path=str(tmp_path), KUBECONFIG=str(config))

    assert (plugins().returncode, log.exists()) == (0, False)
    assert plugins("aws").returncode == 0
    assert log.read_text().splitlines()[-1].endswith("awscli")
    log.unlink()
    refused = plugins("aws", "gke-gcloud-auth-plugin")
    assert (refused.returncode, log.exists()) == (2, False)
    assert "logs in by gke-gcloud-auth-plugin, which the job's container lacks" in refused.stderr
    assert run("exec_plugins.py").returncode == 0, "in the cluster there is no kubeconfig"


def test_a_stack_that_is_not_in_the_list_is_not_updated() -> None:
    done = run("pulumi_stack.py", "up", "--stack", "prdo", "--stacks", '["dev", "prod"]')
    assert done.returncode == 2
    assert done.stderr == 'pulumi-stack: \'prdo\' is not in PULUMI_STACKS, which is ["dev", "prod"]\n'
