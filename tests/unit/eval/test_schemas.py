"""The committed schemas are those of the models, and accept what is shipped and written."""

import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import Workspace
from vllm_eval.schemas import SCHEMAS
from workbench.paths import REPOSITORY

FOLDER = REPOSITORY / "eval" / "evalchemy" / "schemas"


def check(name: str, document: Any) -> None:  # noqa: ANN401 - any JSON
    schema = json.loads((FOLDER / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


def test_no_schema_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in SCHEMAS}


def test_what_is_shipped_and_written_is_valid(workspace: Workspace) -> None:
    check("eval_config", json.loads((REPOSITORY / "eval" / "evalchemy" / "configs" / "eval_config.json").read_text()))
    workspace.add_task("task", 5)
    assert workspace.evaluate(OpenAIServer(workspace.answers), baseline={"run": "x"}) == 0
    check("models", json.loads((workspace.root / "models.json").read_text()))
    results = workspace.root / "results"
    (record,) = results.rglob("result.json")
    check("result", json.loads(record.read_text()))
    (samples,) = results.rglob("task.jsonl.gz")
    for line in gzip.decompress(Path(samples).read_bytes()).splitlines():
        check("sample", json.loads(line))


def test_a_misspelt_key_is_not_valid() -> None:
    with pytest.raises(jsonschema.ValidationError):
        check("eval_config", {"task": {"enabled": True, "limits": 5}})
