"""Kind: an item reaches the prompt as it is in its file, or is refused by file and line before the first request."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.openai_server import OpenAIServer
from tests.support.workspace import Workspace, write_task
from vllm_eval.config import TaskSettings
from vllm_eval.engines import EngineJob
from vllm_eval.engines.lm_eval import LmEvalEngine
from vllm_eval.errors import TaskError
from vllm_eval.items import Items
from vllm_eval.models import Model
from vllm_eval.readers import Format, read_items
from vllm_eval.relay import Relay
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.tasks import load_tasks
from workbench.paths import REPOSITORY

SETTINGS = TaskSettings(enabled=True)


def prompts(folder: Path) -> list[str]:
    """Return what lm_eval asks, in the items' order, through the real engine."""
    asked: list[Request] = []

    def ask(requests: Sequence[Request]) -> dict[str, Answer | Failure]:
        asked.extend(requests)
        return {request.key: Answer(text="x", finish_reason="stop", served="m") for request in requests}

    def relay(_: object) -> Relay:
        raise NotImplementedError

    model = Model(name="m", tag="t", endpoint="http://127.0.0.1:1/v1")
    tasks = load_tasks({"t": SETTINGS}, folder / "tasks", limit=None, api="completions")
    LmEvalEngine().run(EngineJob(model=model, tasks=tasks, ask=ask, relay=relay, seed=1, deadline=1e9))  # type: ignore[arg-type]
    return [str(request.payload["prompt"]) for request in sorted(asked, key=lambda request: request.doc_id)]


VALUES = [
    7, 3.5, -0.0, 10**30, "2025-03-11", "2024-01-01T00:00:00Z", "01234", "NA", "null", "", " a ", True, False, None,
    [1, "a", None], {"a": 1}, {"b": 2, "c": {"d": []}}, "\u2028", "가", "\U0001f600", "NaN", "1e5",
]  # fmt: skip


def test_values_of_every_type_beside_each_other_reach_the_prompt(tmp_path: Path) -> None:
    write_task(tmp_path)
    rows = [{"question": value} for value in VALUES]
    (tmp_path / "data" / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [json.loads(prompt) for prompt in prompts(tmp_path)] == VALUES
    assert [str(json.loads(prompt)) for prompt in prompts(tmp_path)] == [str(value) for value in VALUES]


@pytest.mark.parametrize("loader", ["json", "load_items"])
def test_a_field_that_the_first_item_lacks_is_there_and_missing_is_not_null(tmp_path: Path, loader: str) -> None:
    more = "custom_dataset: !function utils.load_items\n" if loader == "load_items" else ""
    prompt = "'{% if passage is defined %}{{passage}}|{% endif %}{{question}}'"
    write_task(tmp_path, prompt=prompt, more=more)
    shipped = REPOSITORY / "eval/evalchemy/tasks/utils.py"
    (tmp_path / "tasks" / "utils.py").write_bytes(shipped.read_bytes())
    rows = [{"question": "a"}, {"passage": "P", "question": "b"}, {"question": "c", "passage": None}]
    (tmp_path / "data" / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert prompts(tmp_path) == ["a", "P|b", "None|c"]


def test_arrays_fields_compression_and_several_files_are_read(tmp_path: Path) -> None:
    write_task(tmp_path, files=["../data/a.json", "../data/b.jsonl.gz", "../data/c.json"], prompt="'{{n}}'")
    data = tmp_path / "data"
    (data / "a.json").write_text('\ufeff[\n {"n": 1},\n {"n": 2, "m": [1]}\n]\n')
    (data / "b.jsonl.gz").write_bytes(gzip.compress(b'{"n": "3"}\r\n\r\n{"n": 4.0}'))
    (data / "c.json").write_text('[{"n": 5}]')
    assert prompts(tmp_path) == ["1", "2", "3", "4.0", "5"]
    write_task(tmp_path, files="../data/d.json", prompt="'{{n}}'", field="rows")
    (data / "d.json").write_text('{"version": 1, "rows": [{"n": 1}, {"n": "01"}]}')
    assert prompts(tmp_path) == ["1", "01"]
    write_task(tmp_path, files="../data/[ac].json", prompt="'{{n}}'")
    assert prompts(tmp_path) == ["1", "2", "5"]


def test_a_cell_of_csv_is_its_text(tmp_path: Path) -> None:
    write_task(tmp_path, path="csv", files="../data/t.csv", prompt="'{{a}}|{{b}}'")
    (tmp_path / "data" / "t.csv").write_text(
        '\ufeffa,b\nNA,null\n01234,1e5\n"x, ""y""\nz",\nTrue,2024-01-01\n\nnan,3.0\n', newline=""
    )
    assert prompts(tmp_path) == ["NA|null", "01234|1e5", 'x, "y"\nz|', "True|2024-01-01", "nan|3.0"]
    write_task(tmp_path, path="csv", files="../data/t.tsv", prompt="'{{q}}|{{r}}'", sep="\t", column_names=["q", "r"])
    (tmp_path / "data" / "t.tsv").write_text("1\t2\n3\t,\n")
    assert prompts(tmp_path) == ["1|2", "3|,"]


def test_parquet_arrow_and_text_files_are_read(tmp_path: Path) -> None:
    table = pyarrow.table({"n": [2**62, None, -1], "s": ["2024-01-01", "NA", ""]})
    write_task(tmp_path, path="parquet", files="../data/t.parquet", prompt="'{{n}} {{s}}'")
    pyarrow.parquet.write_table(table, tmp_path / "data" / "t.parquet")
    wanted = [f"{2**62} 2024-01-01", "None NA", "-1 "]
    assert prompts(tmp_path) == wanted
    write_task(tmp_path, path="arrow", files="../data/t.arrow", prompt="'{{n}} {{s}}'")
    with pyarrow.ipc.new_file(tmp_path / "data" / "t.arrow", table.schema) as writer:
        writer.write_table(table)
    assert prompts(tmp_path) == wanted
    write_task(tmp_path, path="text", files="../data/t.txt", prompt="'{{text}}|'")
    (tmp_path / "data" / "t.txt").write_text("a \r\nb\n", newline="")
    assert prompts(tmp_path) == ["a |", "b|"]


def test_a_folder_is_read_by_the_words_in_its_names_or_as_its_readme_says(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    write_task(tmp_path, path=str(folder), files=None, prompt="'{{n}}'")
    (folder / "train.jsonl").write_text('{"n": "no"}')
    (folder / "test-00000-of-00002.jsonl").write_text('{"n": 1}')
    (folder / "test-00001-of-00002.jsonl").write_text('{"n": 2.5}')
    assert prompts(tmp_path) == ["1", "2.5"]
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: test, path: train.jsonl}\n---\nWords\n"
    )
    assert prompts(tmp_path) == ["no"]


def test_process_docs_gets_what_it_would_get_of_a_dataset(tmp_path: Path) -> None:
    write_task(tmp_path, prompt="'{{question}}{{more}}'", more="process_docs: !function own.prepare\n")
    (tmp_path / "tasks" / "own.py").write_text(
        "def prepare(data):\n"
        "    data = data.map(lambda doc, i: {'more': doc['question'] * i}, with_indices=True, num_proc=1)\n"
        "    data = data.filter(lambda doc: doc['question'] != 'b').rename_column('question', 'q')\n"
        "    data = data.map(lambda doc: {'question': doc['q']}, remove_columns=['q'])\n"
        "    assert data[:2]['question'] == ['a', 'c'] and data.column_names == ['more', 'question']\n"
        "    return data.shuffle(seed=42).select(range(3))\n"
    )
    (tmp_path / "data" / "t.jsonl").write_text("".join(json.dumps({"question": letter}) + "\n" for letter in "abcdef"))
    import datasets  # type: ignore[import-untyped]  # it ships no types

    order = datasets.Dataset.from_dict({"n": list("acdef")}).shuffle(seed=42)["n"][:3]
    assert prompts(tmp_path) == [letter + letter * "abcdef".index(letter) for letter in order]


SAME_AS_DATASET: dict[str, Callable[[Any], Any]] = {
    "take": lambda data: data.take(2),
    "skip": lambda data: data.skip(2),
    "sort": lambda data: data.sort("b", reverse=True),
    "shuffle": lambda data: data.shuffle(seed=7),
    "rename": lambda data: data.rename_column("a", "c"),
    "remove": lambda data: data.remove_columns(["a"]),
    "select_columns": lambda data: data.select_columns("b"),
    "add": lambda data: data.add_column("d", [1, 2, 3]),
    "map": lambda data: data.map(lambda item, more: {"b": item["b"] + more}, fn_kwargs={"more": 1}),
    "filter": lambda data: data.filter(lambda item, number: number != item["b"], with_indices=True),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")  # pyarrow's, in Dataset.sort
@pytest.mark.parametrize("name", SAME_AS_DATASET)
def test_items_do_what_a_dataset_does(name: str) -> None:
    import datasets

    rows = [{"a": "x", "b": 2}, {"a": "y", "b": 1}, {"a": "x", "b": 3}]
    dataset = datasets.Dataset.from_list(rows)
    assert SAME_AS_DATASET[name](Items(rows)).to_list() == SAME_AS_DATASET[name](dataset).to_list()
    assert Items(rows).unique("a") == dataset.unique("a")
    assert (Items(rows).num_rows, Items(rows)[1:]) == (dataset.num_rows, dataset[1:])
    assert Items(rows)[[2, 0]] == dataset[[2, 0]]


def test_what_process_docs_cannot_have_is_named(tmp_path: Path) -> None:
    write_task(tmp_path, more="process_docs: !function own.prepare\n")
    (tmp_path / "data" / "t.jsonl").write_text('{"question": 1}')
    for code, named in (("data.to_pandas()", "no 'to_pandas'"), ("data.map(len, batched=True)", "batched")):
        (tmp_path / "tasks" / "own.py").write_text(f"def prepare(data):\n    return {code}\n")
        with pytest.raises(TaskError, match=named):
            prompts(tmp_path)


BAD = {
    '{"question": 1}\n{"question": 2,}': "line 2: not JSON",
    '{"question": 1}\n{"question": NaN}': "line 2: .*NaN is not JSON",
    '{"question": 1e400}': "line 1: .*1e400 is too large",
    '{"question": 1, "question": 2}': "line 1: .*'question' is there twice",
    '{"a": {"b": 1, "b": 1}, "question": 1}': "line 1: .*'b' is there twice",
    '{"question": 1}\n"text"': "line 2: an item must be a JSON object",
    '{\n "question": 1\n}': "line 1: not JSON: .*one item a line",
    '{"question": 1} {"question": 2}': "line 1: not JSON",
    '[\n{"question": 1},\n2]': "line 3: an item must be a JSON object",
    '[{"question": 1}\n{"question": 2}]': "line 1: not JSON: the array has",
    '[{"question": 1}]\n[{"question": 2}]': "line 2: there is more behind the array",
    '[{"question": 1},]': "line 1: not JSON",
    "[]": "holds no item",
    " \n": "holds no item",
    "[" * 100_000: "line 1: ",
}


@pytest.mark.parametrize("content", BAD, ids=[name[:30] for name in BAD])
def test_a_file_that_holds_no_such_items_is_refused_by_file_and_line(
    workspace: Workspace, capfd: pytest.CaptureFixture[str], content: str
) -> None:
    write_task(workspace.root)
    (workspace.root / "data" / "t.jsonl").write_text(content)
    workspace.configure({"t": {}})
    assert workspace.run("validate") == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    with pytest.raises(TaskError, match=BAD[content]):
        load_tasks({"t": SETTINGS}, workspace.root / "tasks", limit=None, api="completions")
    assert "t.jsonl" in said


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"a,b\n1,2\n3\n", "line 3: 1 cells, but the header has 2"),
        (b"a,a\n1,2\n", "line 1: the header has 'a' twice"),
        (b'a,b\n"1"x,2\n', "line 2: not CSV"),
        ("질문,답\n하나,둘\n".encode("cp949"), "line 1: not UTF-8"),
    ],
)
def test_a_csv_file_that_is_none_is_refused_by_line(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TaskError, match=named):
        read_items([tmp_path / "t.csv"], Format(name="csv"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"files": "https://host/t.jsonl"}, "is an address"),
        ({"lines": True}, "dataset_kwargs.lines is not known"),
        ({"path": "csv", "delimeter": ";"}, "dataset_kwargs.delimeter is not known"),
        ({"prompt": "qestion"}, "doc_to_text is 'qestion', but no item has that field"),
        ({"target": "answer"}, "doc_to_target is 'answer', but no item has that field"),
        ({"target": "later"}, r"t.jsonl, line 1: the item has no 'later'"),
        ({"prompt": "'{{question}} {{later}}'"}, r"'later' is undefined .*t.jsonl, line 1"),
        ({"target": "'{{question[0]}}'"}, r"t.jsonl, line 2: no prompt or no target"),
        ({"files": {"other": "../data/t.jsonl"}}, "test_split is 'test'"),
        ({"path": "/nowhere/at/all"}, "is no folder"),
    ],
)
def test_a_yaml_that_does_not_fit_its_items_is_refused_before_the_first_request(
    tmp_path: Path, change: Mapping[str, Any], named: str
) -> None:
    given = dict(change)
    files = given.get("files")
    write_task(tmp_path, **({} if isinstance(files, dict) else given))
    if isinstance(files, dict):
        text = (tmp_path / "tasks" / "t.yaml").read_text()
        (tmp_path / "tasks" / "t.yaml").write_text(text.replace('"test": "..', '"other": "..'))
    (tmp_path / "data" / "t.jsonl").write_text('{"question": "a"}\n{"question": [], "later": 1}')
    with pytest.raises(TaskError, match=named):
        prompts(tmp_path)


def test_an_older_copy_of_the_loader_that_changes_items_is_found(tmp_path: Path) -> None:
    write_task(tmp_path, more="custom_dataset: !function utils.load_items\n")
    (tmp_path / "tasks" / "utils.py").write_text(
        "import json, datasets, pathlib\n"
        "def load_items(data_files, **_):\n"
        "    rows = [json.loads(line) for line in pathlib.Path(data_files['test'][0]).read_text().splitlines()]\n"
        "    return datasets.DatasetDict({'test': datasets.Dataset.from_list(rows)})\n"
    )
    (tmp_path / "data" / "t.jsonl").write_text('{"question": "a"}\n{"question": "b", "passage": "P"}')
    with pytest.raises(TaskError, match=r"t.jsonl, line 2: the loader makes .*take this version's load_items"):
        prompts(tmp_path)


def test_items_without_the_cluster_field_are_clusters_of_their_own(
    workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    write_task(workspace.root, prompt="question", target="answer")
    rows = [{"question": f"q{n}?", "answer": "x", **({"passage": "P"} if n < 4 else {})} for n in range(6)]
    (workspace.root / "data" / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    workspace.configure({"t": {"cluster": "passage"}})
    assert workspace.evaluate(OpenAIServer({str(row["question"]): "x" for row in rows})) == 0
    values = workspace.store.item_values(workspace.last(), "t")
    assert values is not None
    assert values.clusters is not None
    assert [values.clusters.count(name) for name in values.clusters] == [4, 4, 4, 4, 1, 1]
    workspace.configure({"t": {"cluster": "pasage"}})
    assert workspace.run("validate") == 2
    assert "'pasage'" in capfd.readouterr().err


def test_a_copy_of_an_item_may_be_changed(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": [1]}')
    items = read_items([tmp_path / "t.jsonl"], Format(name="json"))
    items[0]["a"].append(2)
    items[0]["b"] = 1
    assert items.to_list() == [{"a": [1]}]
    assert str(items.origin(0)).endswith("t.jsonl, line 1")


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(TEXT, JSON, max_size=4), min_size=1, max_size=5), st.sampled_from([None, 1, "array"]))
def test_any_json_items_are_read_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], form: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    if form == "array":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=form is None) for row in rows), "utf-8", "surrogatepass")
    if form is None and any("\\ud" in json.dumps(row).lower() for row in rows):
        # A file may hold half a surrogate pair as an escape only.
        path.write_text("\n".join(map(json.dumps, rows)))
    read = read_items([path], Format(name="json"))
    assert repr(read.to_list()) == repr(rows)


@given(st.lists(st.lists(TEXT, min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_texts_are_read_from_csv_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    path.write_bytes(out.getvalue().encode())
    read = read_items([path], Format(name="csv"))
    assert [list(row.values()) for row in read] == rows


@given(st.dictionaries(TEXT.filter(bool), JSON, min_size=1, max_size=4))
def test_any_item_comes_to_a_template_as_it_is(item: dict[str, Any]) -> None:
    import lm_eval.utils

    from vllm_eval.engines.lm_eval_model import compile_templates_once

    compile_templates_once()
    seen: dict[str, Any] = {}
    lm_eval.utils.env.filters["note"] = lambda value: seen.update(value=value) or ""
    # Jinja's own words and constants (``True`` too) are never a field.
    words = {"true", "false", "none", "not", "and", "or", "in", "is", "if", "else"}
    for key in Items([item])[0]:
        if key.isidentifier() and key.lower() not in words:
            lm_eval.utils.apply_template(f"{{{{ {key} | note }}}}", item)
            assert repr(seen["value"]) == repr(item[key])
