"""Count which of lm_eval's tasks the image runs: ``python -m vllm_eval.coverage REQUIREMENTS DOCUMENT``.

Packages count as installed if the image's REQUIREMENTS lock them, so that the
table does not depend on the machine that makes it. The table is written
between two comments of DOCUMENT.
"""

import re
import sys
from collections import Counter
from pathlib import Path

from vllm_eval import catalog
from vllm_eval.catalog import Reason

BEGIN, END = "<!-- made by vllm_eval.coverage -->", "<!-- end -->"
RUNS = "runs as named"
# Packages whose name is not that of their module.
DISTRIBUTIONS = {"antlr4": "antlr4-python3-runtime"}


def count(locked: frozenset[str]) -> Counter[str]:
    """Count all tasks by what becomes of them with these packages."""
    return Counter(
        _verdict(name, locked)
        for name, entry in catalog.manager().task_index.items()
        if entry.kind.name in {"TASK", "PY_TASK"}
    )


def packages(requirements: str) -> frozenset[str]:
    """Return the names that a hashed requirements file locks."""
    return frozenset(re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", requirements, flags=re.MULTILINE | re.IGNORECASE))


def table(counts: Counter[str]) -> str:
    """Return the counts as a Markdown table, the largest first."""
    total = sum(counts.values())
    rows = [f"| {reason} | {number:,} | {number / total:.1%} |" for reason, number in counts.most_common()]
    return "\n".join(["| | tasks | share |", "|---|---:|---:|", *rows, f"| all | {total:,} | {1:.1%} |"])


def write(document: str, counts: Counter[str]) -> str:
    """Return the document with its table made anew."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(counts)}\n{END}{rest.partition(END)[2]}"


def _verdict(name: str, locked: frozenset[str]) -> str:
    refusal = catalog.refuse(name, None)
    if refusal is None or (refusal.reason is Reason.PACKAGE and _all_locked(name, locked)):
        return RUNS
    return str(refusal.reason)


def _all_locked(name: str, locked: frozenset[str]) -> bool:
    missing = catalog.missing_packages(catalog.manager().task_index[name].cfg or {})
    return all(DISTRIBUTIONS.get(module, module.replace("_", "-")) in locked for module in missing)


def main(requirements: Path, document: Path) -> None:
    """Make the document's table anew."""
    counts = count(packages(requirements.read_text(encoding="utf-8")))
    document.write_text(write(document.read_text(encoding="utf-8"), counts), encoding="utf-8")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
