"""The JSON schema of the stack files, made from the models: `make generate` writes it."""

import json
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from components.labels import PROJECT
from components.settings import keys
from components.settings.load import GROUPS, MODELS
from components.settings.model import Model

FILE: Final = Path(__file__).with_name("stack.schema.json")

# As `pulumi config set --secret` writes it.
ENCRYPTED: Final = {
    "type": "object",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}


def schema() -> dict[str, Any]:
    """Return the schema of a `Pulumi.<stack>.yaml`."""
    models: dict[str, type[BaseModel]] = {**GROUPS, MODELS: Model}
    references, definitions = models_json_schema([(model, "validation") for model in models.values()])
    groups = {f"{PROJECT}:{name}": references[model, "validation"] for name, model in GROUPS.items()}
    listed = {"type": "array", "items": references[Model, "validation"], "minItems": 1}
    secrets = {f"{PROJECT}:{key}": {**ENCRYPTED, "description": text} for key, text in keys.SECRETS.items()}
    named = {f"^{PROJECT}:{prefix}": {**ENCRYPTED, "description": text} for prefix, text in keys.PREFIXES.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stack settings of vllm-eval",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {**groups, f"{PROJECT}:{MODELS}": listed, **secrets},
                "patternProperties": {
                    **named,
                    # Keys of others, such as pulumi:tags, are theirs.
                    f"^(?!{PROJECT}:)": True,
                },
                "additionalProperties": False,
            },
            "secretsprovider": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "encryptionsalt": {"type": "string"},
            "environment": True,
        },
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        **definitions,
    }


def text() -> str:
    """Return the schema as the committed file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
