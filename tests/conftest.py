"""What every test gets: a clean environment, a home of its own, and the pinned tools on PATH."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from workbench.paths import cache_dir

# Fixtures that tests in several folders ask for.
pytest_plugins = ("tests.support.evaluations", "tests.support.ci.git_world")

PREFIXES: Final = (
    "ALERTMANAGER_",
    "AWS_",
    "DOCKER_",
    "ETCD_",
    "GIT_",
    "HELM_",
    "HF_",
    "KUBE",
    "MODEL_",
    "OPENAI_",
    "PULUMI_",
    "VLLM_EVAL_",
)
NAMES: Final = (
    "CONTEXT",
    "STACK",
    "UI_PORTS",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "MODEL",
)
GO_CACHES: Final = ("GOCACHE", "GOMODCACHE")
HOMES: Final = frozenset({"HOME", "GOENV", "GIT_CONFIG_NOSYSTEM", *GO_CACHES})
KEPT: Final = ("VLLM_EVAL_CACHE", "HF_HOME", "KUBECACHEDIR", "GIT_CONFIG_NOSYSTEM")


def _own_home() -> dict[str, str]:
    """Return an environment in which programs read and write no folder of the developer's but the caches.

    Git, Docker's clients, kubectl, Helm, Pulumi, amtool and Go look for settings, credentials and caches below HOME.
    """
    home = tempfile.mkdtemp(prefix="vllm-eval-tests-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    ours = {"HF_HOME": f"{home}/huggingface", "KUBECACHEDIR": f"{home}/kube", "VLLM_EVAL_CACHE": str(cache_dir())}
    folders = {f"XDG_{kind}_HOME": f"{home}/.{kind.lower()}" for kind in ("CONFIG", "DATA", "STATE")}
    settings_of_go = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "go/env"
    if settings_of_go.exists():
        folders["GOENV"] = str(settings_of_go)
    if shutil.which("go"):
        # With our folders: Go counts its calls in a file beside its settings.
        told = subprocess.check_output(["go", "env", "-json", *GO_CACHES], env={**os.environ, **folders}, text=True)
        ours |= json.loads(told)
    return {**ours, **folders, "XDG_CACHE_HOME": f"{home}/.cache", "HOME": home, "GIT_CONFIG_NOSYSTEM": "1"}


# At import: session fixtures of other folders start tools before any fixture of this file would run.
DEVELOPERS: Final = dict(os.environ)
os.environ |= _own_home()
os.environ["PATH"] = f"{cache_dir() / 'bin'}{os.pathsep}{os.environ['PATH']}"

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("any-machine"), max_examples=20)
settings.register_profile("bench", settings.get_profile("any-machine"), max_examples=10_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "any-machine"))

# Files that ask for a task or a name of lm_eval's.
INDEXED: Final = frozenset(
    f"tests/unit/eval/test_{name}.py" for name in ("catalog", "groups", "requests_as_written", "suites", "task_files")
)


class _ByFile(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """One worker for all that reads lm_eval's index: a process takes 6 s of CPU to read its 14,000 files."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "lm_eval's index" if file in INDEXED else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    """Give each file to one worker, and some files to the same one."""
    return _ByFile(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Name the cluster of the end-to-end suite."""
    group = parser.getgroup("vllm-eval")
    group.addoption("--context", help="tests/e2e/test_context.py: a cluster of your kubeconfig, free of the stack")
    group.addoption("--kind", help="tests/e2e: a cluster of kind's, made with .github/kind.yaml, by its name")
    group.addoption("--of-suite", help="tests/e2e: use the sandbox of a suite that runs, by the sandbox's name")
    group.addoption(
        "--keep-sandbox",
        action="store_true",
        help="tests/e2e: use the sandbox of the last such run, and leave it running",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Let fixtures clean up after SIGTERM and a closed terminal, too, and after Ctrl-C in the background of a shell."""
    if config.getoption("context") or config.getoption("kind"):
        # The cluster is the developer's own: its kubeconfig and Pulumi's login are in their home.
        for name in [each for each in os.environ if each in HOMES or each.startswith("XDG_")]:
            del os.environ[name]
        os.environ |= {name: value for name, value in DEVELOPERS.items() if name in HOMES or name.startswith("XDG_")}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the developer's credentials and settings out of a test's environment."""
    for name in list(os.environ):
        if name not in KEPT and (name.startswith(PREFIXES) or name in NAMES):
            monkeypatch.delenv(name)
