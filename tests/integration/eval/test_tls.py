"""TLS with a private authority, on every way out: both APIs, Evalchemy's relay, the Pushgateway, a bucket."""

import pytest

from tests.support.evalchemy import ITEMS, make_home
from tests.support.openai_server import OpenAIServer, Plan, running
from tests.support.pushgateway import Pushgateway, refusing_gateway
from tests.support.s3 import running_s3
from tests.support.tls import Authority, make_authority
from tests.support.workspace import Workspace


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_private_authority_is_trusted_when_the_model_names_it(
    workspace: Workspace, authority: Authority, api: str
) -> None:
    workspace.add_task("task", 10)
    (workspace.root / "secrets" / "ca").write_text(authority.ca_pem)
    (workspace.root / "secrets" / "key").write_text("sk-of-the-endpoint")
    server = OpenAIServer(workspace.answers, Plan(api_key="sk-of-the-endpoint"))
    with running(server, authority.server_context) as url:
        workspace.set_models(workspace.model(url, ca="ca", api_key="key", api=api))
        assert workspace.run() == 0
    assert {headers["Authorization"] for headers in server.headers_seen} == {"Bearer sk-of-the-endpoint"}


def test_an_unknown_authority_is_an_endpoint_fault(
    workspace: Workspace, pushgateway: Pushgateway, authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace.add_task("task", 10)
    server = OpenAIServer(workspace.answers)
    settings = {"VLLM_EVAL_STACK": "unknown-ca", "VLLM_EVAL_PUSHGATEWAY": pushgateway.url}
    with running(server, authority.server_context) as url:
        workspace.set_models(workspace.model(url))
        assert workspace.run(**settings) == 3
    assert "certificate verify failed" in capfd.readouterr().err
    assert server.requests == []
    assert pushgateway.values("unknown-ca", "vllm_eval_run_success") == {"task": 0}
    assert pushgateway.values("unknown-ca", "vllm_eval_exact_match") == {}
    result = workspace.last("unknown-ca").tasks["task"]
    assert (result.score, result.cause) == (None, "endpoint")


def test_a_certificate_that_is_none_is_the_users_fault(workspace: Workspace) -> None:
    workspace.add_task("task", 10)
    (workspace.root / "secrets" / "ca").write_text("not a certificate")
    workspace.set_models(workspace.model("https://127.0.0.1:9/v1", ca="ca"))
    assert workspace.run() == 2


def test_evalchemys_relay_trusts_the_models_authority(workspace: Workspace, authority: Authority) -> None:
    questions = {f"what is {number} times two?": str(2 * number) for number in range(ITEMS)}
    home = make_home(workspace.root / "evalchemy", questions)
    workspace.environ["VLLM_EVAL_EVALCHEMY_HOME"] = str(home)
    workspace.configure({"AIME24": {"engine": "evalchemy"}})
    (workspace.root / "secrets" / "ca").write_text(authority.ca_pem)
    with running(OpenAIServer(questions), authority.server_context) as url:
        workspace.set_models(workspace.model(url, ca="ca", api="chat"))
        assert workspace.run() == 0
    assert workspace.last().tasks["AIME24"].score == 1.0


@pytest.mark.parametrize("trusted", [True, False])
def test_a_gateway_behind_tls_is_trusted_by_ssl_cert_file(
    workspace: Workspace, authority: Authority, *, trusted: bool
) -> None:
    """The pod has no other place for it; one whose authority is unknown takes nothing, and the score is on disk."""
    workspace.add_task("task", 5)
    environ = {"SSL_CERT_FILE": str(authority.folder / "ca.pem")} if trusted else {}
    with running(OpenAIServer(workspace.answers)) as url, refusing_gateway(200, authority.server_context) as gateway:
        workspace.set_models(workspace.model(url))
        process = workspace.start(VLLM_EVAL_PUSHGATEWAY=gateway.url, **environ)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (0 if trusted else 7), errors
    assert [method for method, _, _ in gateway.received] == (["PUT"] if trusted else [])
    assert trusted or "certificate verify failed" in errors
    assert workspace.last().tasks["task"].score == 1.0


@pytest.mark.parametrize("trusted", [True, False])
def test_a_bucket_behind_tls_is_trusted_by_aws_ca_bundle(
    workspace: Workspace, authority: Authority, *, trusted: bool
) -> None:
    workspace.add_task("task", 5)
    server = OpenAIServer(workspace.answers)
    with running(server) as url, running_s3(authority) as s3:
        s3.make_bucket("results")
        environ = s3.environ | ({"AWS_CA_BUNDLE": str(authority.folder / "ca.pem")} if trusted else {})
        workspace.set_models(workspace.model(url))
        process = workspace.start(VLLM_EVAL_RESULTS="s3://results", **environ)
        _, errors = process.communicate(timeout=120)
        stored = [key for key in s3.keys("results") if key.endswith("result.json")]
    assert process.returncode == (0 if trusted else 3), errors
    assert len(stored) == (1 if trusted else 0)
    assert len(server.requests) == (5 if trusted else 0)
