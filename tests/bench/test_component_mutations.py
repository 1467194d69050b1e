"""Wrong owner and patch functions are caught by the other tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.program import ROOT

pytestmark = pytest.mark.bench

MUTATIONS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("component_mutations.yaml").read_text())
COPIED: Final = (
    "__main__.py",
    "components",
    "monitoring",
    "k8s",
    "eval",
    "docker",
    "docs",
    "workbench",
    "tests",
    "pyproject.toml",
)
CATCHERS: Final = (
    "tests/unit/repo/test_manifests.py",
    "tests/unit/components/test_engine_contract.py",
    "tests/unit/components/test_patches.py",
    "tests/unit/components/test_preflight.py",
    "tests/unit/components/test_reruns.py",
    "tests/unit/components/test_stack.py",
    "tests/unit/components/test_stack_argocd.py",
    "tests/unit/components/test_stack_monitoring.py",
)


def copy_of_the_program(folder: Path) -> None:
    for name in (*COPIED, *(each.name for each in ROOT.glob("Pulumi*.yaml"))):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def catch(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *CATCHERS]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)


def test_the_unchanged_program_passes(tmp_path: Path) -> None:
    copy_of_the_program(tmp_path)
    done = catch(tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: f"{each['file']}: {each['old'][:50]}")
def test_a_mutation_is_caught(mutation: dict[str, Any], tmp_path: Path) -> None:
    copy_of_the_program(tmp_path)
    file = tmp_path / mutation["file"]
    text = file.read_text()
    assert mutation["old"] in text, "the program has changed: change this mutation too"
    file.write_text(text.replace(mutation["old"], mutation["new"], 1))
    done = catch(tmp_path)
    # 1: tests failed, 2: it could not even be imported, which is no proof.
    assert done.returncode == 1, done.stdout
    assert "failed" in done.stdout
