"""Log-probabilities: a sound server is believed, each fault is refused by its name, and scores are lm_eval's own."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.toy_model import NAME, Toy, ids_of, serve, template, value_of, write_tokenizer
from tests.support.workspace import Workspace
from vllm_eval.choices import ChoiceAsker, Choices
from vllm_eval.engines import EngineJob
from vllm_eval.engines.lm_eval_choices import ask_choices
from vllm_eval.errors import TaskError
from vllm_eval.models import Model
from vllm_eval.probe import TEXTS, shuffled
from vllm_eval.records import ChoicesRecord
from vllm_eval.requests import Answer, Failure, Request
from vllm_eval.splits import Pair
from vllm_eval.tokens import TokensUnknownError, find_tokens

LETTERS = [
    Pair((item, index), f"Question {item}: which letter?\nAnswer:", f" {letter}")
    for item in range(40)
    for index, letter in enumerate("ABCD")
]
LONG = [
    Pair((item, index), f"Story {item}: she opened", f" the {word} and went on.")
    for item in range(12)
    for index, word in enumerate(("door", "window", "refrigerator"))
]


def job_of(toy: Toy, model: Model | None = None) -> EngineJob:
    """Return a job whose requests the toy answers within this process; what it says wrongly is asked three times."""

    def ask(requests: Sequence[Request]) -> Mapping[str, Answer | Failure]:
        answers: dict[str, Answer | Failure] = {}
        for request in requests:
            assert request.wanted is not None
            status, body = toy.respond(request.wanted.path, dict(request.payload))
            try:
                outcome = request.wanted.read(body) if status == 200 else f"HTTP {status}"
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                outcome = f"not what was asked for: {error!r}"
            answers[request.key] = outcome if isinstance(outcome, Answer) else Failure(outcome, cause="verification")
        return answers

    def post(path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        return toy.respond(path, dict(body))

    model = model or Model(name=NAME, tag="1", endpoint="http://127.0.0.1:1/v1")
    return EngineJob(
        model=model, tasks=(), ask=ask, relay=lambda _: pytest.fail("no relay"), seed=1, deadline=9e9, post=post
    )  # fmt: skip


def asked(toy: Toy, **pairs: Sequence[Pair]) -> dict[str, Choices]:
    job = job_of(toy)
    try:
        return ChoiceAsker(job, find_tokens(job), pairs, dict.fromkeys(pairs, "hash")).ask()
    except TokensUnknownError as error:
        return {name: Choices(problems=[str(error)]) for name in pairs}


def said(found: Choices) -> str:
    return " | ".join([*found.problems, *(failure.reason for failure in found.failures)])


@pytest.mark.parametrize("toy", [Toy(), Toy(bos=False), Toy(tokenize=False), Toy(knows_ids=False)], ids=repr)
def test_both_routes_tell_what_the_model_thinks(toy: Toy) -> None:
    found = asked(toy, letters=LETTERS, long=LONG)
    bos = [1] if toy.bos else []
    assert {name: said(each) for name, each in found.items()} == {"letters": "", "long": ""}
    assert [found["letters"].route, found["long"].route] == ["first token", "echo"]
    for pairs, each in ((LETTERS, found["letters"]), (LONG, found["long"])):
        for pair in pairs:
            before = bos + ids_of(pair.context)
            whole = bos + ids_of(pair.context + pair.continuation)
            wanted = sum(value_of(whole[:at], whole[at]) for at in range(len(before), len(whole)))
            assert each.values[pair.place][0] == pytest.approx(wanted, abs=1e-9)
    assert found["letters"].requests == 40
    assert 0 < (found["letters"].mass or 0) < 0.3


def test_over_chat_the_text_is_that_of_the_template_as_the_model_is_asked() -> None:
    toy = Toy()
    model = Model.model_validate(
        {"name": NAME, "tag": "1", "endpoint": "http://127.0.0.1:1/v1", "api": "chat", "reasoning": "off"}
    )
    chat = [{"role": "user", "content": "Which letter?"}]
    letters = [
        SimpleNamespace(task_name="letters", doc_id=0, idx=index, args=(json.dumps(chat), f" {letter}"))
        for index, letter in enumerate("AB")
    ]
    found = ask_choices(job_of(toy, model), cast("Any", letters), {"letters": "hash"}, {})["letters"]
    before = ids_of(template(chat, enable_thinking=False))
    assert said(found) == ""
    assert found.record == ChoicesRecord(route="first token", tokens="/tokenize")
    assert {place: value for place, (value, _) in found.values.items()} == {
        (0, index): pytest.approx(value_of(before, ids_of(f" {letter}")[0])) for index, letter in enumerate("AB")
    }


def test_a_folder_tells_the_tokens_where_the_server_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tokenize=False, tells_ids=False)
    every = [text for pair in (*LETTERS, *LONG) for text in (pair.context, pair.context + pair.continuation)]
    probe = [" ".join(words) for words in (shuffled(text).split(" ") for text in TEXTS)]
    assert "VLLM_EVAL_TOKENIZER" in said(asked(toy, letters=LETTERS)["letters"])
    write_tokenizer(tmp_path, [*every, *probe, "Seoul"])
    monkeypatch.setenv("VLLM_EVAL_TOKENIZER", str(tmp_path))
    found = asked(toy, letters=LETTERS, long=LONG)
    assert [said(each) for each in found.values()] == ["", ""]
    assert {each.step for each in found.values()} == {"folder"}
    by_server = asked(Toy(), letters=LETTERS, long=LONG)
    assert all(each.values == by_server[name].values for name, each in found.items())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TaskError, match="name the folder with the served model's own"):
        asked(toy, letters=LETTERS)


def test_a_group_like_mmlu_is_asked_once_an_item() -> None:
    toy = Toy()
    many = [
        Pair((item, index), f"Topic {item % 7}\nQuestion {item}?\nAnswer:", f" {letter}")
        for item in range(1000)
        for index, letter in enumerate("ABCD")
    ]
    assert said(asked(toy, mmlu=many)["mmlu"]) == ""
    # Besides: the probe, 1 % again, and what is asked about tokens.
    assert toy.count["completions"] <= 1000 + 100 + 10 + 5
    assert toy.count["/tokenize"] < 120


@pytest.mark.parametrize(
    ("fault", "task", "named"),
    [
        ("echo ignored", "long", "ignores `echo`"),
        ("shifted", "long", "two routes|other places"),
        ("nulls", "long", "have no log-probability; only the first"),
        ("zeros", "long", "all log-probabilities are 0.0"),
        ("+0.3", "long", "two routes .* speculatively"),
        ("+0.3", "letters", "two routes .* speculatively"),
        ("stale", "long", "in another order"),
        ("other tokenizer", "letters", "another tokenizer"),
        ("other tokenizer", "long", "another tokenizer"),
        ("BOS twice", "letters", r"BOS \[1\] stands twice"),
        ("BOS twice", "long", r"BOS \[1\] stands twice"),
        ("ids missing", "letters", "1 of 4 ids that were asked for"),
        ("top list too short", "letters", "likeliest tokens is too short"),
        ("500", "letters", "HTTP 500"),
        ("500", "long", "HTTP 500"),
        ("logits", "letters", "above 0; .* raw_logprobs"),
        ("logits", "long", "above 0; .* raw_logprobs"),
        ("NaN", "letters", "not a finite number"),
        ("NaN", "long", "not a finite number"),
        ("-9999", "letters", "servers give for what they do not know"),
        ("constant", "letters", "all equally likely"),
        ("drift", "letters", "asked again, .* 0.2 nats apart"),
        ("llama.cpp", "letters", "tells no token ids"),
        ("llama.cpp", "long", "tells no token ids"),
    ],
)
def test_a_fault_is_refused_by_its_name(fault: str, task: str, named: str) -> None:
    found = asked(Toy(fault=fault), **{task: {"letters": LETTERS, "long": LONG}[task]})
    assert re.search(named, said(found[task])), said(found[task])


def test_a_sound_server_is_never_refused() -> None:
    """Values that batching moves by up to 0.03 nats, in fifty runs."""
    for run in range(50):
        toy = Toy(jitter=0.03, bos=run % 2 == 0, tokenize=run % 3 > 0)
        toy.count["runs before"] = 1000 * run
        found = asked(toy, letters=LETTERS, long=LONG)
        assert [said(each) for each in found.values()] == ["", ""], run


def test_a_prompt_whose_last_line_has_other_tokens_is_asked_by_its_whole() -> None:
    # Of this one item, and not of those that are looked at first, the line break and the space are one token.
    odd = [
        pair._replace(context=pair.context.replace("\nA", "\n A")) if pair.place[0] == 3 else pair for pair in LETTERS
    ]
    toy = Toy()
    found = asked(toy, letters=odd)["letters"]
    assert (said(found), found.route, found.requests, len(found.values)) == ("", "first token", 80, 160)
    for pair in odd:
        [token] = ids_of(pair.continuation)
        assert found.values[pair.place][0] == pytest.approx(value_of([1, *ids_of(pair.context)], token), abs=1e-9)
    assert "asked again" in said(asked(Toy(fault="drift"), letters=odd)["letters"])


def test_a_choice_that_runs_into_the_context_is_split_as_lm_eval_does() -> None:
    pairs = [Pair((0, index), "She said:", ending) for index, ending in enumerate(("yes it is", "no it is"))]
    found = asked(Toy(), merged=pairs)["merged"]
    assert (said(found), found.route, found.merged) == ("", "echo", 2)
    whole = [1, *ids_of("She said:yes it is")]
    start = 1 + len(ids_of("She said:"))
    assert found.values[0, 0][0] == pytest.approx(
        sum(value_of(whole[:at], whole[at]) for at in range(start, len(whole)))
    )


YAML = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: ../data/{name}.jsonl}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_target: {target}
{more}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  {norm}
"""


def add(workspace: Workspace, name: str, choices: list[str] | None, settings: dict[str, Any] | None = None) -> None:
    rows = [{"question": f"{name} {number}?", "answer": number % len(choices or [1])} for number in range(40)]
    (workspace.root / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = YAML.format(
        name=name,
        kind="multiple_choice" if choices else "loglikelihood",
        target="answer" if choices else '" {{answer}}"',
        more=f"doc_to_choice: {json.dumps(choices)}" if choices else "",
        norm="- {metric: acc_norm, aggregation: mean, higher_is_better: true}" if choices else "",
    )
    (workspace.root / "tasks" / f"{name}.yaml").write_text(text)
    workspace.configure({name: settings or {}}, alone=False)


WORDS = ["a small cat", "an enormous elephant", "fish"]


@pytest.fixture
def scored(workspace: Workspace) -> Workspace:
    add(workspace, "letters", ["A", "B", "C", "D"])
    add(workspace, "words", WORDS, {"metric": "acc_norm"})
    add(workspace, "plain", None)
    return workspace


def test_a_run_has_the_scores_that_the_values_mean(scored: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy()
    with serve(toy) as endpoint:
        scored.set_models(scored.model(endpoint, served_name=NAME))
        assert scored.run() == 0, capsys.readouterr().err
    run = scored.last()
    expected = sum(best(f"letters {item}?\nAnswer:", [" A", " B", " C", " D"]) == item % 4 for item in range(40)) / 40
    assert run.tasks["letters"].score == pytest.approx(expected)
    normed = sum(
        best(f"words {item}?\nAnswer:", [f" {word}" for word in WORDS], by_length=True) == item % 3
        for item in range(40)
    )
    assert run.tasks["words"].score == pytest.approx(normed / 40)
    assert run.tasks["words"].metric == "acc_norm"
    assert run.tasks["letters"].engine_version.endswith(", first token, BOS 1")
    assert run.tasks["words"].engine_version.endswith(", echo, BOS 1")
    assert run.tasks["words"].choices == ChoicesRecord(route="echo", tokens="/tokenize", bos=(1,))
    assert "words (acc_norm)" in capsys.readouterr().out


def best(context: str, continuations: list[str], *, by_length: bool = False) -> int:
    before = [1, *ids_of(context)]
    values = []
    for text in continuations:
        whole = [1, *ids_of(context + text)]
        total = sum(value_of(whole[:at], whole[at]) for at in range(len(before), len(whole)))
        values.append(total / len(text.strip()) if by_length else total)
    return values.index(max(values))


def test_values_are_taken_over_and_the_probe_is_asked_again(scored: Workspace) -> None:
    toy = Toy(fault="500", fails_after=90)
    with serve(toy) as endpoint:
        scored.set_models(scored.model(endpoint, served_name=NAME))
        assert scored.run() == 3
        asked_before = toy.count["completions"]
        toy.fault = ""
        assert scored.run() == 0
    assert asked_before > 30
    assert scored.last().tasks["letters"].good
    assert scored.last().taken_over > 0


def test_a_server_that_cannot_is_a_failed_run_and_no_score(
    scored: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(Toy(fault="llama.cpp")) as endpoint:
        scored.set_models(scored.model(endpoint, served_name=NAME))
        assert scored.run() == 4
    assert "tells no token ids" in capsys.readouterr().err
    assert scored.last().tasks["letters"].score is None


def test_validate_tries_the_targets_of_choices(scored: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert scored.run("validate") == 0
    assert "letters: 40 items; own targets score 1.000" in capsys.readouterr().out
