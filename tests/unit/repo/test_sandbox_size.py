"""What docs/adr/sandbox-size.md says of the sandbox's size is so."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[3]
TEXT: Final = (ROOT / "docs/adr/sandbox-size.md").read_text()
FILES: Final = sorted((ROOT / "workbench/sandbox").rglob("*.py"))
ROWS: Final = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([\d,]+) \| ([\d,]+) \|$", TEXT, re.MULTILINE)


def part(file: Path) -> str:
    """Return the name by which the table knows a file: its own, or its folder's."""
    return file.relative_to(ROOT / "workbench/sandbox").parts[0].removesuffix(".py")


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def code(files: list[Path]) -> int:
    return sum(_code(file.read_text()) for file in files)


def _code(text: str) -> int:
    docs: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    rest = (line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in docs)
    return sum(bool(line) and not line.startswith("#") for line in rest)


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_counts_are_the_files() -> None:
    named = {name for row, _, _ in ROWS for name in re.findall(r"`(\w+)/?`", row)}
    assert named <= {part(file) for file in FILES}
    for row, all_lines, code_lines in ROWS:
        names = set(re.findall(r"`(\w+)/?`", row))
        files = [file for file in FILES if (part(file) in names if names else part(file) not in named)]
        assert number(all_lines) == pytest.approx(lines(files), rel=0.1), row
        assert number(code_lines) == pytest.approx(code(files), rel=0.1), row
    whole, of_it = re.findall(r"They have some ([\d,]+), of which ([\d,]+) are code", TEXT)[0]
    assert number(whole) == pytest.approx(lines(FILES), rel=0.03)
    assert number(of_it) == pytest.approx(code(FILES), rel=0.03)
    assert sum(number(row[1]) for row in ROWS) == pytest.approx(number(whole), rel=0.02)


def test_what_holds_instead_holds() -> None:
    longest_file, longest_function = map(
        int, re.findall(r"no file above (\d+) lines, no function above (\d+)", TEXT)[0]
    )
    for file in [*FILES, *(ROOT / "workbench").rglob("*.py")]:
        assert lines([file]) <= longest_file, file
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < longest_function, f"{file}: {node.name}"
