"""What settings are accepted, and that every problem of the others is reported at once."""

import dataclasses
import json
from typing import Any

import pulumi
import pydantic
import pytest

from components.settings import SettingsError, problems
from components.settings.load import GROUPS
from tests.support import fields, program

CANARY = "s3cr3t-c4n4ry"


def test_a_stack_file_holds_only_what_differs_from_the_defaults() -> None:
    for stack in ("dev", "prod", "local"):
        raw = program.stack_file(stack)
        for name, model in GROUPS.items():
            for key, value in raw.get(name, {}).items():
                field = model.model_fields[key]
                assert field.is_required() or field.get_default() != value, f"Pulumi.{stack}.yaml: {name}.{key}"


def test_settings_cannot_be_changed_after_loading() -> None:
    loaded = program.load(program.stack_file("dev"))
    with pytest.raises(pydantic.ValidationError):
        loaded.git.revision = "other"  # type: ignore[misc] # what must fail
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.stack = "other"  # type: ignore[misc] # what must fail


def test_all_problems_are_reported_at_once_each_with_key_value_and_cure() -> None:
    groups = {
        "git": {"repo": "https://x.example/r.git", "repository": "ftp://x", "revision": 1},
        "evaluation": {"parallelism": 4, "time_zone": "Mars/Olympus", "owner": "both"},
        "monitoring": {"day": "3d", "stale": "5h"},
        "cluster": {},
        "models": [
            {"name": "m", "tag": "t", "endpoint": "http://h/v1", "network": {"port": 1}},
            {"name": "m", "tag": "t", "endpoint": "http://h/v1", "network": {"cidr": "10.0.0.1/8", "port": 80}},
        ],
        "modles": [],
    }
    text = program.refused(groups)
    lines = text.splitlines()
    assert lines[0] == "The settings of stack 'test' have 13 problems:"
    keys = [line.split(" = ")[0].split(": ")[0].strip() for line in lines[1::2]]
    assert sorted(keys) == sorted(
        [
            "vllm-eval:cluster.context",
            "vllm-eval:evaluation.owner",
            "vllm-eval:evaluation.parallelism",
            "vllm-eval:evaluation.time_zone",
            "vllm-eval:git.repo",
            "vllm-eval:git.repository",
            "vllm-eval:git.revision",
            "vllm-eval:models[0].network",
            "vllm-eval:models[1].network.cidr",
            "vllm-eval:models[1].tag",
            "vllm-eval:modles",
            "vllm-eval:monitoring.day",
            "vllm-eval:monitoring.stale",
        ]
    )
    assert all(line.startswith("      cure: ") for line in lines[2::2])


@pytest.mark.parametrize("path", fields.EVERY_FIELD, ids=problems.full_key)
def test_every_field_refuses_a_value_of_the_wrong_type(path: tuple[str | int, ...]) -> None:
    groups = program.stack_file("dev")
    wrong = "wrong" if path[-1] in {"values", "egress", "tasks", "readers", "receivers", "severities"} else ["wrong"]
    fields.put(groups, path, wrong)
    assert f"{problems.full_key(path)} = {json.dumps(wrong)}: input should be" in program.refused(groups)


@pytest.mark.parametrize("path", fields.EVERY_FIELD, ids=problems.full_key)
def test_every_group_refuses_a_misspelt_key_and_proposes_the_right_one(path: tuple[str | int, ...]) -> None:
    groups = program.stack_file("dev")
    misspelt = f"{path[-1]}x"
    fields.take(groups, path)
    fields.put(groups, (*path[:-1], misspelt), 1)
    key = problems.full_key((*path[:-1], misspelt))
    cure = f"rename it to {path[-1]} in the stack file"
    assert f"{key} = 1: unknown key\n      cure: {cure}" in program.refused(groups)


def test_numbers_and_booleans_in_place_of_texts_say_how_to_write_them() -> None:
    groups = program.stack_file("dev")
    groups["models"][0]["tag"] = 2026
    assert (
        "vllm-eval:models[0].tag = 2026: input should be a valid string; quote it in the stack file, or set it with"
        " --type string\n      cure: pulumi config set --path --type string 'vllm-eval:models[0].tag' 2026"
        in program.refused(groups)
    )


def test_a_group_that_is_no_object() -> None:
    groups = {**program.stack_file("dev"), "git": "main", "models": "[1", "argocd": "[]"}
    text = program.refused(groups)
    assert 'vllm-eval:git = "main": must be an object, not a text' in text
    assert 'vllm-eval:models = "[1": must be a list, not a text' in text
    assert "vllm-eval:argocd = []: input should be an object" in text


def test_a_secret_in_plain_text_is_refused_and_not_shown() -> None:
    text = program.refused({**program.stack_file("dev"), "git-password": CANARY, "endpoint-key": CANARY})
    assert "vllm-eval:git-password: in plain text in the stack file" in text
    assert "cure: pulumi config set --secret vllm-eval:git-password" in text
    assert "vllm-eval:endpoint-key: in plain text" in text
    assert CANARY not in text


def test_a_secret_inside_a_group_is_refused_and_not_shown() -> None:
    groups = program.stack_file("dev")
    argocd = json.dumps({"values": {"password": CANARY}, "admin": CANARY})
    text = program.refused({key: value for key, value in groups.items() if key != "argocd"}, {"argocd": argocd})
    assert "vllm-eval:argocd: has a secret inside, which would be printed in plain text" in text
    assert "vllm-eval:argocd.admin: input should be a valid boolean" in text
    assert CANARY not in text


HOOK = "https://hooks.example.com/s3cr3t"


@pytest.mark.parametrize(
    "monitoring",
    [
        {"receivers": [{"name": "team", "kind": "slack", "url": HOOK}]},
        {"receivers": [{"name": "team", "kind": HOOK, "webhook_url": HOOK}]},
        {"receivers": {"team": {"url": HOOK}}},
        {"slack": {"api_url": HOOK}},
        {"webhook": HOOK},
    ],
    ids=str,
)
def test_the_address_of_a_receiver_is_not_shown_wherever_it_stands(monitoring: dict[str, Any]) -> None:
    text = program.refused({**program.stack_file("dev"), "monitoring": monitoring})
    assert "vllm-eval:monitoring" in text
    assert "s3cr3t" not in text


def test_the_address_of_a_receiver_is_taken_where_it_is_a_secret() -> None:
    receivers = [{"name": "team", "kind": "slack", "url": HOOK}]
    text = program.refused({**program.stack_file("dev"), "monitoring": {"receivers": receivers}})
    assert (
        "cure: pulumi config rm --path 'vllm-eval:monitoring.receivers[0].url', then, with the receiver's name,"
        " pulumi config set --secret vllm-eval:receiver-NAME; Git may hold the address already" in text
    )
    del receivers[0]["url"]
    stack = program.run({**program.stack_file("dev"), "monitoring": {"receivers": receivers}}, {"receiver-team": HOOK})
    secret = stack.one("Secret", "vllm-eval-receivers")
    assert secret.inputs["stringData"] == {"team": HOOK}
    # Only where Pulumi encrypts it.
    assert [each.name for each in stack.resources.values() if HOOK in json.dumps(each.inputs)] == [secret.name]
    assert secret.secrets


def test_the_error_reaches_pulumi_without_a_stack_trace() -> None:
    assert issubclass(SettingsError, pulumi.RunError)
