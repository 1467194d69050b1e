"""Kind: ``validate`` names every item whose own target is not right, and says where a target alone cannot be tried."""

import json
from pathlib import Path
from typing import Any

import lm_eval
import pytest

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import Workspace, write_task

BUILT_IN = Path(lm_eval.__file__).parent / "tasks"


def validate(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], rows: list[dict[str, Any]], **settings: object
) -> tuple[int, str]:
    """Write the items of task ``t`` and return the exit code and all that was said."""
    (workspace.root / "data" / "t.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    workspace.configure({"t": settings})
    code = workspace.run("validate")
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    return code, said.out + said.err


def test_each_item_that_is_not_right_for_its_own_target_is_named(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    more = "filter_list: [{name: none, filter: [{function: lowercase}, {function: take_first}]}]\n"
    write_task(workspace.root, prompt="question", target="answer", more=more)
    rows = [{"question": f"q{n}", "answer": "Seoul" if n % 2 else "busan"} for n in range(30)]
    code, said = validate(workspace, capfd, rows)
    assert code == 2
    assert "15 of 30 items are not right for their own target" in said
    assert "t.jsonl, line 2: the target 'Seoul' is judged as 'seoul'" in said
    assert "and 5 more" in said


@pytest.mark.parametrize(
    ("target", "more", "row"),
    [
        ("\"{{names}}\"", "", {"names": ["Painter 1", "P. 1"]}),
        ("names", "", {"names": ["only"]}),
        ("right", "doc_to_choice: choices\n", {"choices": ["a", "b"], "right": 1}),
        ("\"{{right}}\"", "doc_to_choice: ['yes', 'no']\n", {"right": 0}),
        ("answer", "", {"answer": 7}),
        ("answer", "", {"answer": -3.5}),
        ("answer", "", {"answer": ""}),
        ("answer", "repeats: 3\n", {"answer": "x"}),
    ],
)  # fmt: skip
def test_a_list_is_answered_by_an_element_and_an_index_by_its_choice(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], target: str, more: str, row: dict[str, Any]
) -> None:
    write_task(workspace.root, prompt="question", target=target, more=more)
    code, said = validate(workspace, capfd, [{"question": f"q{n}", **row} for n in range(3)])
    assert code == 0, said
    assert "own targets score 1.000" in said


@pytest.mark.parametrize(
    ("more", "settings", "reason"),
    [
        ("filter_list: [{name: s, filter: [{function: regex, regex_pattern: 'is (.)'}, {function: take_first}]}]\n",
         {}, "filter 's' looks for a pattern (regex)"),
        ("process_results: !function own.judge\n", {}, "process_results decides"),
    ],
)  # fmt: skip
def test_where_more_than_the_target_decides_it_is_said_and_no_error(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], more: str, settings: dict[str, object], reason: str
) -> None:
    write_task(workspace.root, prompt="question", target="answer", more=more)
    own = "def judge(doc, results):\n    return {'exact_match': results[0].isupper()}\n"
    (workspace.root / "tasks" / "own.py").write_text(own)
    code, said = validate(workspace, capfd, [{"question": "q", "answer": "x"}], **settings)
    assert code == 0, said
    assert "cannot be tried" in said
    assert reason in said


def test_a_function_that_breaks_on_an_answer_is_found_without_a_model(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    write_task(workspace.root, prompt="question", target="answer", more="process_results: !function own.judge\n")
    for code, named in (("1 / 0", "ZeroDivisionError"), ("exit(3)", "sys.exit(3)")):
        (workspace.root / "tasks" / "own.py").write_text(f"def judge(doc, results):\n    return {code}\n")
        exit_code, said = validate(workspace, capfd, [{"question": "q", "answer": "x"}])
        assert exit_code == 2
        assert named in said
        assert "own.py, line 2" in said or "exit" in code


def test_a_module_that_ends_the_process_when_it_is_imported_is_named(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    write_task(workspace.root, prompt="question", target="answer", more="process_results: !function own.judge\n")
    (workspace.root / "tasks" / "own.py").write_text("import sys\nsys.exit('a package is missing')\n")
    code, said = validate(workspace, capfd, [{"question": "q", "answer": "x"}])
    assert code == 2
    assert "t: lm_eval cannot load it: its code ends the process" in said
    assert "sys.exit('a package is missing')" in said


def test_a_metric_that_is_the_same_for_every_answer_is_found(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    own_filter = "{function: custom, filter_fn: !function own.same}"
    more = f"filter_list: [{{name: none, filter: [{own_filter}, {{function: take_first}}]}}]\n"
    write_task(workspace.root, prompt="question", target="answer", more=more)
    own = "def same(responses, docs):\n    return [[doc['answer']] for doc in docs]\n"
    (workspace.root / "tasks" / "own.py").write_text(own)
    code, said = validate(workspace, capfd, [{"question": "q", "answer": "x"}])
    assert code == 2
    assert "own targets score 1.000 and nonsense 1.000" in said


GSM8K = [{"question": f"How much is {n} plus 6?", "answer": f"We add.\n#### {n + 6}"} for n in range(1, 6)]
TRIVIA = [
    {"question": f"Who painted {n}?", "answer": {"value": f"Painter {n}", "aliases": [f"P. {n}", f"Painter {n}"]}}
    for n in range(5)
]  # fmt: skip


@pytest.mark.parametrize(
    ("yaml", "rows", "settings", "said_of_it"),
    [
        ("gsm8k/gsm8k-cot.yaml", GSM8K, {}, "cannot be tried"),
        ("gsm8k/gsm8k.yaml", GSM8K, {}, "1.000"),
        ("gsm8k/gsm8k-cot-self-consistency.yaml", GSM8K, {"filter": "maj@64"}, "cannot be tried"),
        ("triviaqa/default.yaml", TRIVIA, {}, "1.000"),
    ],
)
def test_tasks_of_lm_eval_pass_with_items_of_their_form(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], yaml: str, rows: list[dict[str, Any]],
    settings: dict[str, Any], said_of_it: str,
) -> None:  # fmt: skip
    (workspace.root / "tasks" / "t.yaml").write_text(
        f"include: {BUILT_IN / yaml}\ntask: t\ntag: null\ndataset_path: json\ndataset_name: null\n"
        "dataset_kwargs: {data_files: {train: ../data/t.jsonl, test: ../data/t.jsonl, validation: ../data/t.jsonl}}\n"
    )
    code, said = validate(workspace, capfd, rows, **settings)
    assert code == 0, said
    assert f"t: {len(rows)} items" in said
    assert said_of_it in said


def test_a_value_that_is_a_bool_or_of_numpy_is_a_sample(workspace: Workspace) -> None:
    write_task(workspace.root, prompt="question", target="answer", more="process_results: !function own.judge\n")
    rows = [{"question": f"Write word {n}", "answer": "x"} for n in range(10)]
    (workspace.root / "data" / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    workspace.configure({"t": {}})
    for value in ("upper", "__import__('numpy').bool_(upper)", "__import__('numpy').int8(upper)"):
        own = f"def judge(doc, results):\n    upper = results[0].isupper()\n    return {{'exact_match': {value}}}\n"
        (workspace.root / "tasks" / "own.py").write_text(own)
        server = OpenAIServer({row["question"]: "WORD" if int(row["question"][-1]) < 5 else "word" for row in rows})
        assert workspace.evaluate(server) == 0
        task = workspace.last().tasks["t"]
        assert (task.score, task.paired) == (0.5, True)
