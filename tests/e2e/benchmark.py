"""A group of lm_eval's own, from a bundle on a claim: made from a hub of ours, and changed there."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.hub import running_hub
from workbench.sandbox.cluster import apply, folder_of_claim
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import wait_for

GROUP: Final = "minerva_math"
DATA_SET: Final = "EleutherAI/hendrycks_math"
# As lm_eval's tasks name the data set's configurations.
SUBJECTS: Final = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip
ITEMS_OF_LEAF: Final = 15
ITEMS: Final = ITEMS_OF_LEAF * len(SUBJECTS)
CLAIM: Final = "benchmarks"
NAMESPACE: Final = "vllm-eval"
# A stack names a file of its checkout, so the name is of one that ships; the sandbox's repository has it changed.
SUITE: Final = "suites/quick"
EVALUATED: Final = {
    "custom_task_1": {"enabled": True},
    "custom_task_2": {"enabled": True},
    GROUP: {"enabled": True, "leaves": True},
}
SETTINGS: Final[Mapping[str, Any]] = {"config": SUITE, "data": {"bundle": {"claim": CLAIM}}}
COMMIT: Final[Mapping[str, Callable[[str], str]]] = {
    f"eval/evalchemy/configs/{SUITE}.json": lambda _: json.dumps(EVALUATED, indent=2) + "\n"
}


def _problem(subject: str, number: int) -> str:
    return f"How many tiles has the {subject} floor number {number}?"


def _tiles(number: int, shift: int) -> int:
    return (number + shift) % 3 + 1


def answers() -> dict[str, str]:
    """Return the right answer to each problem of the first data, in the words that the task looks for."""
    return {
        _problem(subject, number): f"Final Answer: The final answer is ${_tiles(number, 0)}$. I hope it is correct."
        for subject in SUBJECTS
        for number in range(ITEMS_OF_LEAF)
    }


def write(sandbox: Sandbox, *, shift: int = 0) -> None:
    """Bundle the group of a hub into the claim; another ``shift`` is another answer to every problem."""
    with tempfile.TemporaryDirectory() as temporary, running_hub() as hub:
        hub.put(DATA_SET, {subject: _splits(subject, shift) for subject in SUBJECTS})
        made = Path(temporary) / "bundle"
        subprocess.run(
            [sys.executable, "-m", "vllm_eval", "bundle", GROUP, "--out", str(made)],
            env={**os.environ, **hub.environ(Path(temporary) / "cache")}, check=True, capture_output=True,
        )  # fmt: skip
        shutil.copytree(made, _volume(sandbox), dirs_exist_ok=True)


def _splits(subject: str, shift: int) -> dict[str, list[dict[str, Any]]]:
    rows = [
        {
            "problem": _problem(subject, number), "level": "Level 1", "type": subject,
            "solution": f"Count them: $\\boxed{{{_tiles(number, shift)}}}$.",
        }
        for number in range(ITEMS_OF_LEAF)
    ]  # fmt: skip
    return {"train": rows[:1], "test": rows}


def _volume(sandbox: Sandbox) -> Path:
    """Return the claim's folder on this machine; the claim is made if it is not there."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    metadata = {"name": CLAIM, "namespace": NAMESPACE}
    apply(sandbox, [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}])
    return wait_for("the benchmarks' claim", lambda: folder_of_claim(sandbox, NAMESPACE, CLAIM), seconds=60)
