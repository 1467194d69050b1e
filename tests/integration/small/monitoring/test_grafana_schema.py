"""The dashboard against Grafana's own schema, by the tool dashboard-schema."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monitoring import committed_dashboard
from tests.support.monitoring import board as reading

BOARD = reading.load()


def _against_grafanas_schema(folder: Path, board: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    file = folder / "dashboard.json"
    file.write_text(json.dumps(board), encoding="utf-8")
    return subprocess.run(["dashboard-schema", file], capture_output=True, text=True, timeout=60, check=False)


def test_grafanas_own_schema_takes_it(tmp_path: Path) -> None:
    for board in (BOARD, json.loads(committed_dashboard("https://reports.example.com"))):
        done = _against_grafanas_schema(tmp_path, board)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("titel",), "x", "unexpected field 'titel'"),
        (("title",), 5, "title: json: cannot unmarshal number"),
        (("annotations", "list", 0, "text"), "x", "unexpected field 'text'"),
        (("templating", "list", 1, "values"), "x", "unexpected field 'values'"),
        (("panels", 1, "options", "colour"), "red", "unexpected field 'colour'"),
        (("panels", 1, "options", "wideLayout"), None, "wideLayout: required field is null"),
        (("panels", 1, "targets", 0, "expression"), "up", "unexpected field 'expression'"),
        (("panels", 1, "fieldConfig", "defaults", "unit"), 3, "cannot unmarshal number"),
        (("panels", 1, "type"), "piechart", 'panels of the type "piechart" are not known here'),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_a_slip_is_against_grafanas_schema(
    tmp_path: Path, path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    board = copy.deepcopy(BOARD)
    place: Any = board
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    done = _against_grafanas_schema(tmp_path, board)
    assert done.returncode == 1
    assert complaint in done.stderr
