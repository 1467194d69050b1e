"""The stack: Argo CD, the evaluation's namespace, its monitoring, and what Argo CD syncs."""

import pulumi

# The runner's package holds the metric contract, which the alert rules are made from. requirements.txt cannot name it.
try:
    import vllm_eval  # noqa: F401
except ModuleNotFoundError as missing:
    raise pulumi.RunError("this Python environment lacks the package vllm_eval: run `make venv`") from missing

from components import preflight
from components.program import declare
from components.settings import load

if __name__ == "__main__":
    settings = load()
    preflight.check(settings)
    declare(settings)
