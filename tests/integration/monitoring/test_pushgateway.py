"""The gateway as the stack declares it: a real one with its arguments keeps the scores through a crash."""

import http.client
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import program
from tests.support.monitoring.contract import Run
from tests.support.monitoring.prometheus import start, wait_for
from tests.support.ports import free_port
from vllm_eval import metrics

GROUP = f"/metrics/job/{metrics.PUSH_JOB}/stack/prod/model/m"


def _arguments(folder: Path, port: int) -> list[str]:
    [container] = (
        program.run(program.stack_file("prod")).one("Deployment").inputs["spec"]["template"]["spec"]["containers"]
    )
    [mount] = container["volumeMounts"]
    [port_declared] = container["ports"]
    arguments: list[str] = container["args"]
    replaced = {mount["mountPath"]: str(folder), f":{port_declared['containerPort']}": f"127.0.0.1:{port}"}
    for shipped, here in replaced.items():
        assert any(shipped in argument for argument in arguments)
        arguments = [argument.replace(shipped, here) for argument in arguments]
    return ["prometheus-pushgateway", *arguments]


def _ask(port: int, method: str, path: str, body: str = "") -> str:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read().decode()


@pytest.mark.parametrize("crash", [False, True], ids=["a restart", "a crash"])
def test_scores_outlive(tmp_path: Path, crash: bool) -> None:
    port = free_port()
    command = _arguments(tmp_path, port)
    ready = f"http://127.0.0.1:{port}/-/ready"
    text = "".join(f"{name} {value!r}\n" for name, value in Run("m", "v1", "t", 0.8, 1.0).series())
    with start(command, tmp_path / "log", ready=ready, crash=crash):
        _ask(port, "PUT", GROUP, text)
        before = _scores(port)
        if crash:
            pushed = time.time()
            [file] = [argument.split("=")[1] for argument in command if "persistence.file" in argument]
            wait_for("the gateway to write", lambda: Path(file).exists() and Path(file).stat().st_mtime >= pushed - 1)
    with start(command, tmp_path / "log", ready=ready):
        assert len(before) == len(text.splitlines())
        assert _scores(port) == before


def _scores(port: int) -> list[str]:
    return sorted(line for line in _ask(port, "GET", "/metrics").splitlines() if line.startswith("vllm_eval_"))
