"""The JSON schemas of what the runner reads and writes, made from the models that check it.

``python -m vllm_eval.schemas FOLDER`` writes them; a test compares the
committed files with the models.
"""

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from vllm_eval.config import TaskSettings
from vllm_eval.models import Model
from vllm_eval.records import RunResult, Sample

SCHEMAS: dict[str, TypeAdapter[Any]] = {
    "eval_config": TypeAdapter(dict[str, TaskSettings]),
    "models": TypeAdapter(list[Model]),
    "result": TypeAdapter(RunResult),
    "sample": TypeAdapter(Sample),
}


def schema_text(name: str) -> str:
    """Return one schema as it is committed."""
    # Of what is written, every field is there, defaults too.
    mode: Literal["serialization", "validation"] = "serialization" if name in {"result", "sample"} else "validation"
    schema = SCHEMAS[name].json_schema(mode=mode)
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write all schemas into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCHEMAS:
        (folder / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
