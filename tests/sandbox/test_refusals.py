"""Bad situations get one clear error before anything is changed."""

import dataclasses
import shutil
import urllib.error
from pathlib import Path

import pytest

from sandbox import doctor, requests, stack
from sandbox.layout import REPOSITORY, Layout
from sandbox.namespace import Namespace
from sandbox.shell import SandboxError


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A sandbox that was never started."""
    return Layout(cache=tmp_path, name="test")


def test_all_missing_prerequisites_are_reported_at_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(doctor, "FREE_BYTES", 10**18)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SandboxError) as error:
        doctor.check(layout)
    text = str(error.value)
    for said in ("not root", "no `go`", "no `git`: apt-get install git", "set VLLM_EVAL_CACHE to a folder"):
        assert said in text
    assert list(layout.cache.iterdir()) == []


def test_a_cache_that_the_sandbox_would_hide_is_refused(layout: Layout) -> None:
    hidden = dataclasses.replace(layout, cache=Path("/var/lib/vllm-eval"))
    assert any("set VLLM_EVAL_CACHE" in problem for problem in doctor.problems(hidden))


def test_a_command_without_a_sandbox_says_what_to_type(layout: Layout) -> None:
    with pytest.raises(SandboxError, match="type `make up` first"):
        Namespace(layout).run(["true"])


def test_down_without_a_sandbox_is_no_error(layout: Layout) -> None:
    Namespace(layout).stop()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MODEL": "m"}, "MODEL_ENDPOINT and MODEL go together"),
        ({"MODEL_ENDPOINT": "http://h:8000/v1"}, "MODEL_ENDPOINT and MODEL go together"),
        ({"LIMIT": "few"}, "LIMIT is 'few': give a number"),
        ({"LIMIT": "0"}, "LIMIT is '0': give a number"),
        ({"MODEL": "m", "MODEL_ENDPOINT": "vllm:8000"}, "MODEL_ENDPOINT is 'vllm:8000': write an address such as"),
        ({"MODEL": "m", "MODEL_ENDPOINT": "http://localhost:8000/v1"}, "the pods have a loopback of their own"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_the_cure(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SandboxError, match=said):
        requests.check(environment)


def test_an_endpoint_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str, timeout: float) -> None:
        raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr("urllib.request.urlopen", refused)
    with pytest.raises(SandboxError, match=r"'http://vllm:8000/v1', and it does not answer: .*Connection refused"):
        requests.check({"MODEL": "m", "MODEL_ENDPOINT": "http://vllm:8000/v1"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"custom_task_1": {"enabled": tru}}', "not JSON"),
        ('{"custom_task_9": {"enabled": true}}', "custom_task_9"),
        ('{"custom_task_1": {"enabled": false}}', "no task is enabled"),
    ],
)
def test_the_runners_refusal_of_the_evaluation_files_comes_first(
    config: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(REPOSITORY / "eval", tmp_path / "eval", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "eval/evalchemy/configs/eval_config.json").write_text(config)
    monkeypatch.setattr(requests, "REPOSITORY", tmp_path)
    with pytest.raises(SandboxError, match=said):
        requests.check({})


def test_a_callers_own_model_replaces_the_stacks(layout: Layout) -> None:
    changes = stack.overrides(
        Namespace(layout), {"MODEL_ENDPOINT": "http://h:8000/v1", "MODEL": "m", "MODEL_TAG": "v2"}
    )
    assert changes["models"] == [{"name": "m", "tag": "v2", "endpoint": "http://h:8000/v1"}]
