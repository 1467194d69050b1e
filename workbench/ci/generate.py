"""Re-makes every committed file that is made from something else: `make generate`. A test compares them all."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from components import labels
from components.settings import reference, schema
from monitoring.artefacts import ARTEFACTS
from vllm_eval import coverage, suites
from vllm_eval.schemas import SCHEMAS, schema_text
from workbench.paths import REPOSITORY

DATA: Final = "eval/evalchemy/data"
SUITES: Final = "docs/suites.md"


def _text_of_schema(name: str) -> Callable[[], str]:
    return lambda: schema_text(name)


def _suites() -> str:
    document = (REPOSITORY / SUITES).read_text(encoding="utf-8")
    return suites.write(document, REPOSITORY / labels.CONFIGS / "suites")


MADE: Final[dict[str, Callable[[], str]]] = {
    str(schema.FILE.relative_to(REPOSITORY)): schema.text,
    **{str(file.relative_to(REPOSITORY)): make for file, make in reference.FILES.items()},
    **{f"monitoring/{name}": make for name, make in ARTEFACTS.items()},
    SUITES: _suites,
    **{f"eval/evalchemy/schemas/{name}.schema.json": _text_of_schema(name) for name in SCHEMAS},
}


def data() -> dict[str, str]:
    """Return the items of our own tasks, by their paths: a script of the runner's folder writes them."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, REPOSITORY / DATA / "generate.py", folder], check=True)
        return {f"{DATA}/{file.name}": file.read_text(encoding="utf-8") for file in sorted(Path(folder).iterdir())}


def texts() -> dict[str, str]:
    """Return what each committed file must hold, by its path in the repository."""
    return {path: make() for path, make in MADE.items()} | data()


def main() -> None:
    """Write every file, and say which of them changed."""
    try:
        made = texts()
    except KeyError as error:  # a description without its Korean: the text says where to add it
        sys.exit(f"error: {error.args[0]}")
    for path, text in made.items():
        file = REPOSITORY / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8", newline="\n")
            print(f"{path} is new")
    # Apart, since lm_eval's index takes seconds; its own test holds it (tests/unit/eval/test_catalog.py).
    coverage.main(REPOSITORY / "eval/evalchemy/requirements.txt", REPOSITORY / "docs/tasks.md")


if __name__ == "__main__":
    main()
