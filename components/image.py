"""The evaluation image where Pulumi owns the Job: built, looked up, or as the settings name it."""

from pathlib import Path
from typing import Final

import pulumi

from components.settings.model import Image

__all__ = ["reference"]

ROOT: Final = Path(__file__).resolve().parents[1]
DOCKERFILE: Final = "docker/evalchemy.Dockerfile"


def reference(settings: Image) -> pulumi.Input[str] | None:
    """Return the image to run, or None for the manifest's.

    A build is pushed, and the Job runs it by digest, so that the same tag with
    another content re-runs the evaluation. Neither a build nor a look-up touches
    the Docker plugin unless the settings ask for it.
    """
    if settings.repository is None:
        return None
    name = f"{settings.repository}:{settings.tag}"
    if not (settings.build or settings.lookup):
        return f"{name}@{settings.digest}" if settings.digest else name
    # Imported only here: it takes a tenth of a preview's time, and most stacks never need it.
    import pulumi_docker as docker

    if settings.build:
        built = docker.Image(
            "image",
            image_name=name,
            build=docker.DockerBuildArgs(
                context=str(ROOT),
                dockerfile=str(ROOT / DOCKERFILE),
                platform="linux/amd64",
            ),
        )
        return built.repo_digest
    found = docker.get_registry_image_output(name=name)
    return pulumi.Output.concat(name, "@", found.sha256_digest)
