"""Data sets of our making: in the schemas of well-known ones, for lm_eval's own tasks on our hub, and as a bundle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.hub import Hub
from vllm_eval.data.bundle import MANIFEST, BundledTask, File, Manifest
from vllm_eval.data.task_data import sha256, to_lines
from vllm_eval.data.write import store

Row = dict[str, Any]

LETTERS = ("A", "B", "C", "D")
QUESTIONS = {f"number: what is {number}?": str(number) for number in range(12)}
NUMBERS = """\
task: numbers
dataset_path: org/numbers
test_split: test
fewshot_split: dev
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 8}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
# What a model may say to a prompt, by a word that stands in each item of a data set.
REPLIES: Mapping[str, tuple[str, ...]] = {
    "pears": ("They are 1. #### 1", "#### 2", "so 3\n#### 3", "1", "none"),
    "poem": ("hello there. this is a line. and another!", "HELLO, 3 4", "* one\n* two\n* three", ""),
    "topic": ("A", "B.", " C", "D\nQ:", "정답"),
    "subject": ("A", " B\nthe rest", "C", "d", "none of them"),
    "riddle": ("So the answer is True.", "Thus the answer is False.", "the answer is 3.", "no idea"),
    "tiles": (
        "Final Answer: The final answer is $1$. I hope it is correct.",
        "\\boxed{2}",
        "The final answer is $3$",
        "x",
    ),
    "capital": (" Paris", " the seine", " Lyon is", " rome"),
    "harvest": (" 5", " 5 tons", " June 1834", " the mill"),
}


def reply(prompt: str) -> str:
    """Answer a prompt by its last item and a hash of the whole, as often right as wrong."""
    word = max(REPLIES, key=prompt.rfind)
    choices = REPLIES[word]
    return choices[int(hashlib.sha256(prompt.encode()).hexdigest()[:8], 16) % len(choices)]


def publish(hub: Hub, datasets: Mapping[str, set[str | None]], *, items: int = 6) -> None:
    """Put data sets on the hub, each with the configurations that are asked of it."""
    for name, configs in datasets.items():
        make = _MAKERS[name]
        hub.put(name, {config or "default": make(config or "", items) for config in sorted(configs, key=str)})


def _gsm8k(_: str, items: int) -> dict[str, list[Row]]:
    def row(number: int) -> Row:
        return {"question": f"How many pears are {number}?", "answer": f"It is so.\n#### {number % 3 + 1}"}

    return {"train": [row(100 + number) for number in range(9)], "test": [row(number) for number in range(items)]}


def _ifeval(_: str, items: int) -> dict[str, list[Row]]:
    ids = (["punctuation:no_comma"], ["length_constraints:number_sentences", "detectable_format:number_bullet_lists"])
    empty = {"num_sentences": None, "relation": None, "num_bullets": None}
    given = ([empty], [{**empty, "num_sentences": 2, "relation": "at least"}, {**empty, "num_bullets": 3}])
    return {
        "train": [
            {
                "key": number, "prompt": f"Write poem {number}.", "instruction_id_list": ids[number % 2],
                "kwargs": given[number % 2],
            }
            for number in range(items)
        ]
    }  # fmt: skip


def _kmmlu(config: str, items: int) -> dict[str, list[Row]]:
    def row(number: int) -> Row:
        return {
            "question": f" topic {config} {number}? ", "answer": number % 4 + 1,
            **{letter: f"{letter.lower()}{number}" for letter in LETTERS}, "Category": config, "Human Accuracy": 0.5,
        }  # fmt: skip

    rows = [row(number) for number in range(items)]
    return {"train": rows, "dev": [row(number) for number in range(90, 95)], "test": rows}


def _mmlu(config: str, items: int) -> dict[str, list[Row]]:
    def row(number: int) -> Row:
        choices = [f"{letter}-{number}" for letter in LETTERS]
        return {"question": f"subject {config} {number}?", "subject": config, "choices": choices, "answer": number % 4}

    rows = [row(number) for number in range(items)]
    return {"test": rows, "validation": rows[:2], "dev": [row(number) for number in range(90, 95)]}


def _bbh(config: str, items: int) -> dict[str, list[Row]]:
    return {
        "test": [
            {"input": f"riddle {config} {number}", "target": ("True", "False", "3")[number % 3]}
            for number in range(items)
        ]
    }


def _math(config: str, items: int) -> dict[str, list[Row]]:
    def row(number: int) -> Row:
        return {
            "problem": f"How many tiles has {config} {number}?", "level": "Level 1", "type": config,
            "solution": f"Count them: $\\boxed{{{number % 3 + 1}}}$.",
        }  # fmt: skip

    return {"train": [row(50)], "test": [row(number) for number in range(items)]}


def _triviaqa(_: str, items: int) -> dict[str, list[Row]]:
    def row(number: int) -> Row:
        aliases = (["Paris", "Lutetia"], ["The Seine"], ["Rome"])[number % 3]
        answer = {"aliases": aliases, "value": aliases[0], "normalized_aliases": [each.lower() for each in aliases]}
        return {"question": f"What is the capital of {number}", "question_id": f"q{number}", "answer": answer}

    return {"train": [row(40)], "validation": [row(number) for number in range(items)]}


def _drop(_: str, items: int) -> dict[str, list[Row]]:
    nothing = {"number": "", "date": {"day": "", "month": "", "year": ""}, "spans": []}
    answers = ({"number": "5"}, {"spans": ["the mill"]}, {"date": {"day": "", "month": "June", "year": "1834"}})

    def row(number: int) -> Row:
        answer = {**nothing, **answers[number % 3]}
        others = {key: [answer[key]] for key in ("number", "date", "spans")}
        return {
            "section_id": "s", "query_id": f"q{number}", "passage": f"The harvest of {number} was 5 tons.",
            "question": "How much?", "answer": answer, "validated_answers": others,
        }  # fmt: skip

    return {"train": [row(70)], "validation": [row(number) for number in range(items)]}


_MAKERS = {
    "openai/gsm8k": _gsm8k,
    "google/IFEval": _ifeval,
    "HAERAE-HUB/KMMLU": _kmmlu,
    "cais/mmlu": _mmlu,
    "SaylorTwift/bbh": _bbh,
    "EleutherAI/hendrycks_math": _math,
    "mandarjoshi/trivia_qa": _triviaqa,
    "EleutherAI/drop": _drop,
}


def write_punkt(folder: Path) -> None:
    """Write sentence tokenizer data of our making, in the files that nltk reads."""
    english = folder / "tokenizers" / "punkt_tab" / "english"
    english.mkdir(parents=True)
    for name in ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"):
        (english / name).write_text("")


def sets_of(leaves: list[str]) -> dict[str, set[str | None]]:
    """Return the data sets of lm_eval's tasks and the configurations that they name, from their own YAML."""
    from lm_eval.tasks._yaml_loader import load_yaml

    from vllm_eval import catalog

    found: dict[str, set[str | None]] = {}
    for leaf in leaves:
        path = catalog.manager().task_index[leaf].yaml_path
        assert path is not None
        spec = load_yaml(path, resolve_func=False)
        found.setdefault(spec["dataset_path"], set()).add(spec.get("dataset_name"))
    return found


def lines(path: Path) -> list[Row]:
    """Read JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_bundle(folder: Path, rows: list[Row], *, commit: str = "a" * 40, lm_eval: str = "0.4.13") -> Path:
    """Write a bundle of these items, and of another task's, into a folder; return it."""
    content, path = to_lines(rows, "numbers"), "tasks/numbers/test.jsonl"
    other = to_lines(rows[:3], "other")
    entry = BundledTask(
        repository="org/numbers", commit=commit, config=None, licence="mit", gated="no", split="test", items=path,
        num_fewshot=0, fewshot_split="dev",
    )  # fmt: skip
    files = {
        path: File(sha256=sha256(content), size=len(content), items=len(rows)),
        "tasks/other/test.jsonl": File(sha256=sha256(other), size=len(other), items=3),
    }
    manifest = Manifest(lm_eval=lm_eval, tasks={"numbers": entry}, files=files)
    store({path: content, "tasks/other/test.jsonl": other, MANIFEST: manifest.to_bytes()}, str(folder))
    return folder


def rows_of(questions: dict[str, str]) -> list[Row]:
    """Return questions and answers as items."""
    return [{"question": question, "answer": answer} for question, answer in questions.items()]
