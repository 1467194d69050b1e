"""What CI does after a push: the evaluation image, and its digest in the Job's manifest by CI's own write-back."""

import sys
from pathlib import Path
from typing import Final

from workbench.paths import REPOSITORY
from workbench.sandbox import git, images
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import run, say

IMAGE: Final = "vllm-eval/vllm-eval-evalchemy"
REGISTRY_OF_IMAGE: Final = "ghcr.io"


def build_image(sandbox: Sandbox, sources: Path = REPOSITORY) -> None:
    """Build, push and write back the image of the commit on `main`, unless the recorded one is of the same sources.

    Parameters
    ----------
    sandbox
        A sandbox with registry, builder and git server.
    sources
        A working tree of that commit.
    """
    if git.image_is_current(sandbox) and images.holds(sandbox, git.recorded(sandbox, git.IMAGE_PATH)):
        return
    release_image(sandbox, git.tip(sandbox), sources)


def release_image(
    sandbox: Sandbox, commit: str, sources: Path, *, tag: str = "latest", repository: Path | None = None
) -> None:
    """Build and push the image of a commit on `main`, and write it back.

    Parameters
    ----------
    sandbox
        A sandbox with registry, builder and git server.
    commit, sources
        The commit, and a working tree of it.
    tag
        The image's tag in the registry.
    repository
        The bare repository of the commit, None: the sandbox's own.
    """
    dockerfile = sources / "docker/evalchemy.Dockerfile"
    digest = images.build(sandbox, f"{IMAGE}:{tag}", context=sources, dockerfile=dockerfile, target="runner")
    write_back(sandbox, commit, digest, repository=repository)


def write_back(
    sandbox: Sandbox, commit: str, digest: str, *, repository: Path | None = None, validate: bool = False
) -> None:
    """Record commit and digest in the Job's manifest by the very script that the workflow runs.

    Parameters
    ----------
    sandbox
        A sandbox with git server.
    commit, digest
        What the image was built from, and what the push of it returned.
    repository
        The bare repository to write to, None: the sandbox's own.
    validate
        Let an API server check the manifest first, as the workflow does. The sandbox's own one would do the same later.
    """
    bare = repository or git.repository(sandbox)
    # One for each, since both may be written to at the same time.
    checkout = sandbox.paths.state / ("checkout" if repository is None else f"checkout-of-{bare.stem}")
    git.clone(sandbox, checkout, bare)
    script: list[str | Path] = [sys.executable, "-m", "workbench.ci.write_back", "--repository", checkout]
    script += ["--remote", bare, "--image", f"{REGISTRY_OF_IMAGE}/{IMAGE}", "--digest", digest, "--commit", commit]
    if validate:
        script += ["--validate", f"{sys.executable} {REPOSITORY / 'workbench/ci/server_dry_run.py'}"]
    said = run(script, env=sandbox.env(), cwd=REPOSITORY)
    say(f"  {said.strip()}")
