"""API keys: where they come from, and that they are in no log, result, exception, process list or metric."""

import base64
import gzip
import re
import urllib.request
from pathlib import Path

import pytest

from tests.support.openai_server import OpenAIServer, Plan
from tests.support.pushgateway import Pushgateway
from tests.support.workspace import Workspace
from vllm_eval.engines import EngineJob
from vllm_eval.engines.fake import FakeEngine
from vllm_eval.secrets import REDACTED


@pytest.mark.parametrize("content", [None, "", "  \n"])
def test_a_missing_or_empty_key_is_named_before_the_first_request(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], content: str | None
) -> None:
    workspace.add_task("task", 10)
    if content is not None:
        (workspace.root / "secrets" / "gemma-key").write_text(content)
    server = OpenAIServer(workspace.answers)
    assert workspace.evaluate(server, api_key="gemma-key") == 2
    assert "gemma-key" in capfd.readouterr().err
    assert server.requests == []


def test_the_environments_key_goes_to_no_listed_endpoint(workspace: Workspace) -> None:
    workspace.add_task("task", 5)
    server = OpenAIServer(workspace.answers)
    with workspace.served(server):
        assert workspace.run(OPENAI_API_KEY="sk-of-somebody") == 0
    assert all("Authorization" not in headers for headers in server.headers_seen)


def test_the_key_is_in_no_process_list(workspace: Workspace) -> None:
    workspace.add_task("task", 20)
    (workspace.root / "secrets" / "key").write_text("sk-hidden-in-a-file")
    with workspace.served(
        OpenAIServer(workspace.answers, Plan(api_key="sk-hidden-in-a-file", latency=0.1)), api_key="key"
    ):
        process = workspace.start()
        seen = ""
        while process.poll() is None:
            for name in ("cmdline", "environ"):
                try:
                    seen += Path(f"/proc/{process.pid}/{name}").read_bytes().decode()
                except OSError:
                    break
        process.communicate()
    assert process.returncode == 0
    assert "vllm_eval" in seen
    assert "sk-hidden" not in seen


KEY = "sk-a-secret-that-nobody-may-see"
ECHOES = {
    "in an error that heals": Plan().changed({"faults": [{"kind": "status", "times": 3, "body": f"you sent {KEY}"}]}),
    "in a refusal": Plan().changed({"faults": [{"kind": "status", "status": 400, "body": f'{{"key": "{KEY}"}}'}]}),
    "in a 401": Plan().changed({"faults": [{"kind": "status", "status": 401, "first": 5, "body": KEY}]}),
    "in a redirect": Plan().changed(
        {"faults": [{"kind": "status", "status": 302, "headers": {"Location": f"http://elsewhere/?key={KEY}"}}]}
    ),
    "in the list of models": Plan(models=(KEY,)),
}


@pytest.mark.parametrize("plan", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("verbose", [False, True])
def test_a_key_that_the_endpoint_shows_goes_nowhere(
    workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str], plan: Plan, *, verbose: bool
) -> None:
    workspace.add_task("task", 30)
    (workspace.root / "secrets" / "key").write_text(f"{KEY}\n")
    with workspace.served(OpenAIServer(workspace.answers, plan), api_key="key"):
        arguments = [*(["--verbose"] if verbose else []), "run"]
        workspace.run(*arguments, VLLM_EVAL_PUSHGATEWAY=pushgateway.url, VLLM_EVAL_STACK="echo")
        workspace.run("report", VLLM_EVAL_STACK="echo")
    said = "".join(capfd.readouterr())
    assert_hidden(workspace, pushgateway, said)
    # The key was shown: it is what was taken out.
    assert REDACTED in said


def test_a_key_that_the_model_answers_goes_nowhere(
    workspace: Workspace, pushgateway: Pushgateway, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even into the compressed samples, nor into the recorded answers of a run that the endpoint's death ended."""
    workspace.add_task("task", 30)
    for question in workspace.items["task"]:
        workspace.items["task"][question] = f"my key is {KEY}"
    (workspace.root / "secrets" / "key").write_text(KEY)
    server = OpenAIServer(workspace.answers, Plan().changed({"faults": [{"kind": "reset", "first": 10}]}))
    settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "answered"}
    with workspace.served(server, api_key="key"):
        assert workspace.run(**settings) == 3
        assert workspace.recorded() == 10
        assert_hidden(workspace, pushgateway, "".join(capfd.readouterr()))
        server.plan = Plan()
        assert workspace.run(**settings) == 0
        assert workspace.run("report", VLLM_EVAL_STACK="answered") == 0
    assert_hidden(workspace, pushgateway, "".join(capfd.readouterr()))
    assert f"my key is {REDACTED}".encode() in everything_in(workspace.root / "results")


def test_a_key_in_an_error_that_nobody_foresaw_goes_nowhere(
    workspace: Workspace, pushgateway: Pushgateway, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(self: FakeEngine, job: EngineJob) -> None:
        raise ZeroDivisionError(f"while the key was {KEY}") from KeyError(KEY)

    monkeypatch.setattr(FakeEngine, "run", broken)
    workspace.add_task("task", 3)
    (workspace.root / "secrets" / "key").write_text(KEY)
    with workspace.served(OpenAIServer(workspace.answers), api_key="key"):
        settings = {"VLLM_EVAL_PUSHGATEWAY": pushgateway.url, "VLLM_EVAL_STACK": "unforeseen"}
        assert workspace.run("--verbose", "run", **settings) == 3
    said = capfd.readouterr().err
    assert "Traceback" in said
    assert f"while the key was {REDACTED}" in said
    assert_hidden(workspace, pushgateway, said)


def everything_in(folder: Path) -> bytes:
    """The content of all files, compressed ones and the items of pages unpacked."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
    blocks = [each for content in contents for each in re.findall(rb'data-task="[^"]*">([^<]+)<', content)]
    return b"\n".join([*contents, *(gzip.decompress(base64.b64decode(block)) for block in blocks)])


def assert_hidden(workspace: Workspace, pushgateway: Pushgateway, said: str) -> None:
    """The key is in no output, file, file's name or metric."""
    with urllib.request.urlopen(f"{pushgateway.url}/metrics", timeout=10) as response:  # noqa: S310 - loopback
        metrics = response.read()
    results = workspace.root / "results"
    names = " ".join(str(path) for path in results.rglob("*"))
    assert KEY not in said
    assert KEY.encode() not in everything_in(results)
    assert KEY not in names
    assert KEY.encode() not in metrics
