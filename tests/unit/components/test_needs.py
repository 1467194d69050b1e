"""`python -m components.settings` judges a stack file as Pulumi would, and says what the stack asks of a cluster."""

import contextlib
import io
import json
import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
import yaml

from components.settings.stack_file import START_SECONDS, SYNC_SECONDS, main
from tests.support import program
from workbench.paths import REPOSITORY


def ask(stack: str, file: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    """Ask within this process, as the command would."""
    out, told = io.StringIO(), io.StringIO()
    command = ["components.settings", stack]
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump(file).encode()))),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(told),
        program.event_loop(),
    ):
        code = main()
    return subprocess.CompletedProcess(command, code, out.getvalue(), told.getvalue())


def test_the_command_answers_as_the_function_does() -> None:
    command = [sys.executable, "-m", "components.settings", "dev"]
    file = program.stack_path("dev").read_text()
    done = subprocess.run(command, cwd=REPOSITORY, input=file, capture_output=True, text=True, check=True)
    assert done.stdout == ask("dev", committed("dev")).stdout


def committed(stack: str) -> dict[str, Any]:
    return dict(yaml.safe_load(program.stack_path(stack).read_text()))


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_needs_are_those_of_the_declared_objects(stack: str) -> None:
    needs = json.loads(ask(stack, committed(stack)).stdout)
    declared = program.run(program.stack_file(stack), stack=stack)
    assert needs["monitored"] == {
        kind: declared.one(kind).metadata["labels"] for kind in ("PrometheusRule", "ServiceMonitor")
    }
    namespace = declared.one("Namespace", needs["namespace"])
    assert needs["namespace_labels"] == namespace.metadata["labels"]
    claims = [each for each in declared.kubernetes() if each.kind == "PersistentVolumeClaim"]
    assert list(needs["storage_classes"].values()) == [each.inputs["spec"].get("storageClassName") for each in claims]
    assert needs["owner"] == declared.settings.evaluation.owner.value


@pytest.mark.parametrize(("models", "parallelism", "rounds"), [(1, 1, 1), (3, 1, 3), (3, 2, 2), (2, 5, 1)])
def test_the_patience_covers_start_sync_and_every_retry(models: int, parallelism: int, rounds: int) -> None:
    file = committed("dev")
    (model,) = file["config"]["vllm-eval:models"]
    named = [{**model, "name": f"m{each}", "tag": f"t{each}"} for each in range(models)]
    evaluation = {
        "owner": "pulumi",
        "parallelism": parallelism,
        "deadline_seconds": 1000,
        "results": {"access_mode": "ReadWriteMany"},
    }
    file["config"] |= {
        "vllm-eval:models": named,
        "vllm-eval:evaluation": evaluation,
        "vllm-eval:argocd": {"reconciliation_seconds": 77},
    }
    needs = json.loads(ask("dev", file).stdout)
    groups = {key.removeprefix("vllm-eval:"): value for key, value in file["config"].items()}
    job = program.run(groups, stack="dev").one("Job").inputs["spec"]
    tries = 1 + job["backoffLimitPerIndex"]
    assert tries == 3
    a_pod = job["template"]["spec"]["activeDeadlineSeconds"] + START_SECONDS
    assert needs["seconds"] == 77 + SYNC_SECONDS + rounds * tries * a_pod
    assert min(START_SECONDS, SYNC_SECONDS) >= 600


def test_a_stack_that_keeps_nothing_in_the_cluster_needs_nothing_there() -> None:
    file = committed("dev")
    file["config"]["vllm-eval:evaluation"]["results"] = {"url": "s3://results"}
    file["config"]["vllm-eval:evaluation"]["egress"] = [{"cidr": "0.0.0.0/0", "port": 443}]
    file["config"]["vllm-eval:monitoring"] = {"enabled": False}
    needs = json.loads(ask("dev", file).stdout)
    assert (needs["storage_classes"], needs["monitored"]) == ({}, {})


def test_a_gateway_of_others_needs_no_claim_and_no_monitor() -> None:
    file = committed("dev")
    gateway = {
        "url": "http://pushgateway.monitoring.svc:9091",
        "network": {"namespace": "monitoring", "port": 9091},
    }
    file["config"]["vllm-eval:monitoring"] = {"pushgateway": gateway}
    needs = json.loads(ask("dev", file).stdout)
    groups = {key.removeprefix("vllm-eval:"): value for key, value in file["config"].items()}
    declared = program.run(groups, stack="dev")
    assert not declared.has("ServiceMonitor")
    assert needs["monitored"] == {"PrometheusRule": declared.one("PrometheusRule").metadata["labels"]}
    claims = [each for each in declared.kubernetes() if each.kind == "PersistentVolumeClaim"]
    assert len(claims) == 1
    assert needs["storage_classes"] == {"evaluation.results.storage_class": None}
    assert needs["scraper"] is None


def test_encrypted_secrets_are_secrets_and_what_they_hold_is_not_judged() -> None:
    file = committed("dev")
    file["config"] |= {
        "vllm-eval:argocd-admin-hash": {"secure": "v1:abc:def"},
        "vllm-eval:argocd": {"values": {"server": {"secure": True}}},  # no secret, only called so
        "kubernetes:context": "somebody-else's",
    }
    done = ask("dev", file)
    assert done.returncode == 0, done.stderr


def test_all_problems_are_printed_at_once() -> None:
    file = committed("dev")
    file["config"]["vllm-eval:git-password"] = "plain"
    file["config"]["vllm-eval:typo"] = 3
    file["config"]["vllm-eval:evaluation"]["evaluaton"] = 50
    file["config"]["vllm-eval:git"]["username"] = {"secure": "v1:abc:def"}
    done = ask("dev", file)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for said in (
        "4 problems",
        'vllm-eval:typo = "3": unknown key',
        "known here",
        "in plain text",
        "has a secret",
    ):
        assert said in done.stderr, said


@pytest.mark.parametrize("tag", ["2026-11-24", "2026-11-24T18:00:00Z"])
def test_an_unquoted_date_is_named_and_the_quoted_one_is_a_text(tag: str) -> None:
    file = committed("dev")
    (model,) = file["config"]["vllm-eval:models"]
    model["tag"] = yaml.safe_load(tag)
    done = ask("dev", file)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "vllm-eval:models[0].tag = 2026-11-24" in done.stderr
    assert "quote it in the stack file" in done.stderr
    model["tag"] = tag
    file["config"]["vllm-eval:monitoring"] = {"labels": {yaml.safe_load(tag): "x"}}
    assert "vllm-eval:monitoring.labels" in ask("dev", file).stderr
    file["config"]["vllm-eval:monitoring"] = {"labels": {"day": tag[:10]}}
    assert ask("dev", file).returncode == 0
