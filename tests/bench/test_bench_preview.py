"""What a preview costs, side by side in one run: `pytest -m bench tests/bench/test_bench_preview.py -s`."""

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import program
from tests.support.control_plane import CONTEXT, ControlPlane, control_plane
from tests.support.program import Declared, Stack
from tests.support.project import Project
from workbench.sandbox import chart

pytestmark = pytest.mark.bench

PAIRS: Final = 15
CLASSES: Final = {
    "Namespace": "k8s.core.v1.Namespace",
    "Secret": "k8s.core.v1.Secret",
    "ConfigMap": "k8s.core.v1.ConfigMap",
    "ServiceAccount": "k8s.core.v1.ServiceAccount",
    "PersistentVolumeClaim": "k8s.core.v1.PersistentVolumeClaim",
    "Service": "k8s.core.v1.Service",
    "Deployment": "k8s.apps.v1.Deployment",
    "Job": "k8s.batch.v1.Job",
    "NetworkPolicy": "k8s.networking.v1.NetworkPolicy",
    "Release": "k8s.helm.v3.Release",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        yield running


def bare(stack: Stack) -> str:
    """Return one file that declares the same objects, with nothing read, checked or made up."""
    lines = [
        "import pulumi",
        "import pulumi_kubernetes as k8s",
        f"cluster = k8s.Provider('cluster', context={CONTEXT!r})",
    ]
    parents: dict[str, str] = {}
    for index, each in enumerate(stack.resources.values()):
        if not each.custom:
            parents[each.urn] = f"c{index}"
            options = "pulumi.ResourceOptions(provider=cluster)"
            lines.append(f"c{index} = pulumi.ComponentResource({each.type!r}, {each.name!r}, None, {options})")
    lines += [_declaration(each, parents) for each in stack.kubernetes()]
    return "\n".join(lines) + "\n"


def _declaration(each: Declared, parents: dict[str, str]) -> str:
    inputs = {key: value for key, value in each.inputs.items() if key not in ("apiVersion", "kind", "compat")}
    options = f"pulumi.ResourceOptions(parent={parents[each.parent]}, provider=cluster)"
    if each.kind in CLASSES:
        snake = {"automountServiceAccountToken": "automount_service_account_token", "stringData": "string_data"}
        snake |= {"cleanupOnFail": "cleanup_on_fail", "maxHistory": "max_history", "repositoryOpts": "repository_opts"}
        arguments = ", ".join(f"{snake.get(key, key)}={value!r}" for key, value in inputs.items())
        return f"{CLASSES[each.kind]}({each.name!r}, {arguments}, opts={options})"
    version = f"api_version={each.inputs['apiVersion']!r}, kind={each.kind!r}, metadata={inputs['metadata']!r}"
    return f"k8s.apiextensions.CustomResource({each.name!r}, {version}, spec={inputs['spec']!r}, opts={options})"


def seconds(run: Callable[[], object]) -> float:
    started = time.monotonic()
    run()
    return time.monotonic() - started


def ratio(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float, float]:
    """Return the median of interleaved pairs' ratios first / second, and both medians in seconds."""
    first()
    second()
    pairs = [(seconds(first), seconds(second)) for _ in range(PAIRS)]
    return (
        statistics.median(one / other for one, other in pairs),
        statistics.median(one for one, _ in pairs),
        statistics.median(other for _, other in pairs),
    )


def dev(folder: Path, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 (settings of any kind)
    """Return the stack's settings with the chart at hand: a preview asks a chart's repository."""
    argocd = {"chart": str(chart.write(folder))}
    return {**program.stack_file("dev"), "cluster": {"context": CONTEXT}, "argocd": argocd, **changes}


def test_a_preview_costs_little_more_than_a_bare_program(cluster: ControlPlane, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    project = Project(ours, "dev", dev(tmp_path), cluster.kubeconfig)
    other = Project(theirs, "dev", {}, cluster.kubeconfig)
    (theirs / "__main__.py").unlink()
    (theirs / "__main__.py").write_text(bare(program.run(dev(tmp_path), stack="dev")))
    assert sorted(step.title.split()[0] for step in project.preview()) == sorted(
        step.title.split()[0] for step in other.preview()
    )
    found, one, two = ratio(lambda: project.pulumi("preview"), lambda: other.pulumi("preview"))
    print(f"\npreview: {one:.2f} s, bare program {two:.2f} s, ratio {found:.2f}")
    assert found <= 1.2


def test_a_preview_does_not_grow_with_the_models(cluster: ControlPlane, tmp_path: Path) -> None:
    model = program.stack_file("dev")["models"][0]
    hundred = [{**model, "name": f"m{index}", "tag": f"t{index}"} for index in range(100)]
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    one_model = Project(few, "dev", dev(tmp_path), cluster.kubeconfig)
    many_models = Project(many, "dev", dev(tmp_path, models=hundred), cluster.kubeconfig)
    found, many_s, few_s = ratio(lambda: many_models.pulumi("preview"), lambda: one_model.pulumi("preview"))
    print(f"\npreview: 100 models {many_s:.2f} s, one {few_s:.2f} s, ratio {found:.2f}")
    assert found < 1.1
