"""No function is there that nobody names."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDERS: Final = ("components", "monitoring", "eval", "workbench", "tests")
SOURCES: Final = [ROOT / "__main__.py", *(path for each in FOLDERS for path in (ROOT / each).rglob("*.py"))]
# Whoever has a decorator was handed to it, and these are called by the name that somebody else gave them.
CALLED_BY_OTHERS: Final = re.compile(
    r"__\w+__|test_\w+|pytest_\w+"
    r"|do_(GET|HEAD|POST|PUT|DELETE|PATCH)|log_message|server_bind"  # http.server
    r"|[A-Z]\w+"  # gRPC
    r"|new_resource|register_resource_hook"  # Pulumi
)


def test_every_function_is_named_somewhere_else() -> None:
    named: Counter[str] = Counter()
    defined: dict[str, Path] = {}
    for path in SOURCES:
        text = path.read_text()
        named.update(re.findall(r"\w+", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list:
                defined[node.name] = path
    assert len(defined) > 500
    unused = {name: str(path.relative_to(ROOT)) for name, path in defined.items() if named[name] == 1}
    assert {name: path for name, path in unused.items() if not CALLED_BY_OTHERS.fullmatch(name)} == {}
