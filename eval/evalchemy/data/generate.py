"""Write the items of custom_task_1 and custom_task_2, the same bytes every time.

    python eval/evalchemy/data/generate.py [FOLDER]

A change of the items changes the task's hash, and with it every comparison
with an older run: add a task instead, unless an item is wrong.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from draw import Draw, Item
from english_items import english_item
from korean_items import korean_item

ITEMS = 500
SEED = 20260801
# Items made first are easier to read than a shuffled file, but a run with a
# limit takes the first ones: the templates therefore take turns.
TASKS: dict[str, Callable[[Draw, int], Item]] = {"custom_task_1": english_item, "custom_task_2": korean_item}


def items(task: str) -> list[Item]:
    """Make all items of ``task``; no question occurs twice."""
    draw = Draw(SEED)
    made: dict[str, Item] = {}
    while len(made) < ITEMS:
        item = TASKS[task](draw, len(made))
        made.setdefault(item.question, item)
    return list(made.values())


def lines(task: str) -> str:
    """Return the JSONL text of ``task``; ids are stable and start at 1."""
    rows = (
        {"id": f"{task}-{number:04d}", "kind": item.kind, "question": item.question, "answer": item.answer}
        for number, item in enumerate(items(task), start=1)
    )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main(arguments: list[str]) -> int:
    """Write one JSONL file a task into the folder given, default: this file's."""
    folder = Path(arguments[0]) if arguments else Path(__file__).parent
    for task in TASKS:
        (folder / f"{task}.jsonl").write_text(lines(task), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
