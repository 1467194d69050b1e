"""The committed JSON schema of the stack files is the models', and editors get the same answers from it."""

from typing import Any

import jsonschema
import pytest
import yaml

from components.settings import schema
from components.settings.keys import SECRETS
from workbench.paths import REPOSITORY

STACKS = sorted(path.name for path in REPOSITORY.glob("Pulumi.*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.schema())
    return jsonschema.Draft202012Validator(schema.schema())


def stack_file(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text())
    return found


@pytest.mark.parametrize("name", STACKS)
def test_every_stack_file_names_the_schema_and_fits_it(name: str, validator: jsonschema.Draft202012Validator) -> None:
    first = (REPOSITORY / name).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.FILE.relative_to(REPOSITORY)}"
    validator.validate(stack_file(name))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vllm-eval:git", {"repository": "https://x.example/r.git", "branch": "main"}),
        ("vllm-eval:evaluation", {"parallelism": "2"}),
        ("vllm-eval:evaluation", {"owner": "both"}),
        ("vllm-eval:models", []),
        ("vllm-eval:modles", []),
        ("vllm-eval:git-password", "plain"),
        ("vllm-eval:endpoint-key", "plain"),
        ("vllm-eval:receiver-team", "plain"),
    ],
)
def test_an_editor_sees_what_the_program_refuses(
    key: str, value: object, validator: jsonschema.Draft202012Validator
) -> None:
    file = stack_file("Pulumi.dev.yaml")
    file["config"][key] = value
    assert not validator.is_valid(file)


def test_encrypted_secrets_and_other_projects_keys_fit(validator: jsonschema.Draft202012Validator) -> None:
    file = stack_file("Pulumi.dev.yaml")
    for key in (*SECRETS, "endpoint-key", "receiver-team"):
        file["config"][f"vllm-eval:{key}"] = {"secure": "v1:abc"}
    file["config"]["pulumi:tags"] = {"team": "serving"}
    file["encryptionsalt"] = "v1:x"
    validator.validate(file)
