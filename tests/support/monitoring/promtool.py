"""Runs promtool: the checker, the rule tests, and the rule tests as a way to ask what rules would have done."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_GOT = re.compile(r"got:(.*)\Z", re.DOTALL)
_SAMPLE = re.compile(r'(\{[^}]*\}|"[^"]*") ([^\s,]+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Promtool:
    """What promtool said."""

    status: int
    output: str


def run(*arguments: str | Path, timeout: float = 120.0) -> Promtool:
    """Run promtool and return what it said, on either stream."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=timeout, check=False
    )
    return Promtool(done.returncode, done.stdout + done.stderr)


def write_rules(path: Path, groups: Sequence[Mapping[str, Any]]) -> Path:
    """Write `groups` as a plain rules file. JSON is YAML."""
    path.write_text(json.dumps({"groups": list(groups)}), encoding="utf-8")
    return path


def labels(**pairs: str) -> str:
    """Return a label set in PromQL's notation."""
    return "{" + ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs.items()) + "}"


def values(*parts: float | tuple[float | None, int]) -> str:
    """Return promtool's notation for values; a pair repeats its value, None is a missing sample."""
    words = []
    for part in parts:
        value, times = part if isinstance(part, tuple) else (part, 1)
        if times:
            words.append(f"_x{times}" if value is None else f"{value!r}x{times - 1}")
    return " ".join(words)


def ask(
    folder: Path,
    *,
    rules: Sequence[Path],
    series: Mapping[str, str],
    interval: str,
    scrape: str | None = None,
    questions: Sequence[tuple[str, str]],
    timeout: float = 120.0,
) -> list[dict[tuple[tuple[str, str], ...], float]]:
    """Play `series` to `rules` and return the answers to `questions`, each an expression and a time.

    `scrape` is what lies between two values of a series, `interval` unless given.
    promtool only compares; so each question expects what cannot be, and the
    answer is read from the complaint.

    Raises
    ------
    AssertionError
        If promtool answered something else than the questions.
    """
    test = {
        "rule_files": [str(path) for path in rules],
        "evaluation_interval": interval,
        "tests": [
            {
                "interval": scrape or interval,
                "input_series": [{"series": name, "values": text} for name, text in series.items()],
                "promql_expr_test": [
                    {"expr": expr, "eval_time": at, "exp_samples": [{"labels": '{no="such"}', "value": index}]}
                    for index, (expr, at) in enumerate(questions)
                ],
            }
        ],
    }
    file = folder / "questions.json"
    file.write_text(json.dumps(test), encoding="utf-8")
    said = run("test", "rules", file, timeout=timeout)
    complaints = re.split(r"\n\s*expr: ", said.output)[1:]
    assert len(complaints) == len(questions), said.output
    return [_answer(text) for text in complaints]


def _answer(complaint: str) -> dict[tuple[tuple[str, str], ...], float]:
    got = _GOT.search(complaint)
    assert got, complaint
    samples = _SAMPLE.findall(got[1])
    return {_pairs(name): float(value) for name, value in samples}


def _pairs(name: str) -> tuple[tuple[str, str], ...]:
    return tuple((label, json.loads(f'"{value}"')) for label, value in _LABEL.findall(name))
