"""Charts and images are pinned in one place, exactly."""

import re
from pathlib import Path

import pytest

from components import versions
from workbench.paths import REPOSITORY

PROGRAM = [
    REPOSITORY / "__main__.py",
    *sorted((REPOSITORY / "components").rglob("*.py")),
    *sorted(REPOSITORY.glob("Pulumi*.yaml")),
]

IMAGE = re.compile(r"\b(?:docker\.io|quay\.io|ghcr\.io|gcr\.io|registry\.k8s\.io)/[\w./-]+(?::[\w.-]+)?")
# Examples of what users write, not pins.
EXAMPLES = {"ghcr.io/your-org/vllm-eval-evalchemy"}


def test_every_pin_is_exact_and_says_where_updates_come_from() -> None:
    text = (REPOSITORY / "components" / "versions.py").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", versions.ARGOCD_CHART)
    assert re.fullmatch(r"v\d+\.\d+\.\d+", versions.ARGOCD_VERSION)
    assert re.fullmatch(r".+:v\d+\.\d+\.\d+", versions.PUSHGATEWAY_IMAGE)
    for name in ("ARGOCD_CHART", "ARGOCD_VERSION", "PUSHGATEWAY_IMAGE"):
        above = text.split(f"\n{name}: Final")[0].splitlines()
        assert any("# renovate: " in line for line in above[-2:]), name


@pytest.mark.parametrize("file", PROGRAM, ids=lambda each: str(each.relative_to(REPOSITORY)))
def test_no_pin_outside_versions(file: Path) -> None:
    text = file.read_text()
    if file.name != "versions.py":
        assert set(IMAGE.findall(text)) <= EXAMPLES
        assert versions.ARGOCD_CHART not in text
        assert versions.ARGOCD_VERSION not in text
        assert versions.ARGOCD_CHART_REPOSITORY not in text


def test_a_moving_tag_is_used_by_the_evaluation_image_alone() -> None:
    for file in PROGRAM:
        found = re.findall(r"\S*:latest\S*", file.read_text())
        assert found == [], file
