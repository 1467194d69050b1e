"""What every test gets: a clean environment, and the pinned tools on PATH."""

import atexit
import os
import shutil
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from workbench.layout import cache_dir

PREFIXES = ("AWS_", "HF_", "MODEL_", "OPENAI_", "PULUMI_", "VLLM_EVAL_")
NAMES = (
    "CONTEXT",
    "KIND",
    "STACK",
    "UI_PORTS",
    "KUBECONFIG",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "MODEL",
)
KEPT = ("VLLM_EVAL_CACHE", "HF_HOME")

# At import: session fixtures of other folders start tools before any fixture of this file would run.
os.environ["PATH"] = f"{cache_dir() / 'bin'}{os.pathsep}{os.environ['PATH']}"

# Libraries and kubectl read these at import and at start; without them they would fill the developer's home.
_caches = tempfile.mkdtemp(prefix="vllm-eval-tests-")
atexit.register(shutil.rmtree, _caches, ignore_errors=True)
os.environ |= {"HF_HOME": f"{_caches}/huggingface", "KUBECACHEDIR": f"{_caches}/kube"}

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("bench", settings.get_profile("any-machine"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "any-machine"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the developer's credentials and settings out of a test's environment."""
    for name in list(os.environ):
        if name not in KEPT and (name.startswith(PREFIXES) or name in NAMES):
            monkeypatch.delenv(name)
