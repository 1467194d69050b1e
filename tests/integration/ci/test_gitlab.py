"""The example for GitLab: its write-back, run with GitLab's variables against a Git server and a registry."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.ci.git_world import IMAGE, World, expected
from tests.support.ci.http_remote import http_remote
from tests.support.ci.oci_registry import Registry, running_registry
from workbench.paths import REPOSITORY

EXAMPLE: Final[dict[str, Any]] = yaml.safe_load((REPOSITORY / "workbench/ci/gitlab-ci.yml").read_text(encoding="utf-8"))
JOBS: Final = {name: job for name, job in EXAMPLE.items() if isinstance(job, dict) and "script" in job}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "registry"
    folder.mkdir()
    with running_registry(folder) as started:
        yield started


def test_the_write_back_pushes_commit_and_digest(world: World, registry: Registry, tmp_path: Path) -> None:
    clone = world.clone()
    commit, built = world.tip(), registry.push(code="one", built_at="09:00")
    image = registry.name
    start = world.manifest().replace(f"{IMAGE}:latest", f"{image}:latest")
    commit = world.change(clone, {"k8s/evalchemy-job.yaml": start}, "Another registry")
    with http_remote(world.remote, token="project-token") as url:
        given = {
            **world.environment,
            "CI_PROJECT_DIR": str(clone),
            "CI_PROJECT_URL": url.removesuffix(".git"),
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_SHA": commit,
            "CI_REGISTRY": registry.address,
            "CI_REGISTRY_USER": "gitlab-ci-token",
            "CI_REGISTRY_PASSWORD": "job-token",
            "CI_REGISTRY_IMAGE": image.rpartition("/")[0],
            "GITLAB_USER_NAME": "Dev",
            "GITLAB_USER_EMAIL": "dev@example.com",
            "DIGEST": built,
            "WRITE_BACK_TOKEN": "project-token",
            "DOCKER_CONFIG": str(tmp_path),
        }
        given["IMAGE"] = str(EXAMPLE["variables"]["IMAGE"]).replace("$CI_REGISTRY_IMAGE", given["CI_REGISTRY_IMAGE"])
        script = "\n".join(JOBS["write-back"]["script"])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=REPOSITORY,
            env=given,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert world.manifest() == expected(commit, built, base=start.replace(image, IMAGE), image=image)
    assert "project-token" not in done.stdout + done.stderr
    # GitLab starts no pipeline for it.
    assert "[skip ci]" in world.git(world.remote, "log", "-1", "--format=%s", "main")


def test_the_digest_is_read_from_what_buildx_writes(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text(
        '{\n  "containerimage.config.digest": "sha256:bb",\n  "containerimage.digest": "sha256:aa",\n'
        '  "image.name": "a:latest"\n}\n'
    )
    (line,) = [line for line in JOBS["image"]["script"] if line.startswith("sed ")]
    subprocess.run(["sh", "-euc", line], cwd=tmp_path, check=True)
    assert (tmp_path / "image.env").read_text() == "DIGEST=sha256:aa\n"
