"""The runner's log-probabilities beside lm_eval's own client on the same vLLM: tokens, values, scores and costs."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.vllm_server import VllmServer
from tests.support.workspace import Workspace
from tests.vllm.conftest import NAMES
from vllm_eval.likelihood import Echo, FirstToken
from workbench.toolchain.vllm.provide import Vllm

pytestmark = pytest.mark.vllm

ITEMS = int(os.environ.get("VLLM_EVAL_PARITY_ITEMS", "34"))
# So many that the control requests, whose number does not grow with the task, weigh little.
MANY, SOME = 900, 20
CONCURRENCY = 4
# The two routes round differently, in float32 too.
NEAR = 1e-3
PLACES = ("Seoul", "Paris", "Rome", "Cairo", "Oslo", "Lima", "Delhi", "Quito")
COUNTRIES = ("Korea", "France", "Italy", "Egypt", "Norway", "Peru", "India", "Ecuador")
THINGS = ("the old wooden door", "a small window", "her umbrella", "the letter from the bank", "two cups of tea")
KOREAN = (("하늘은", ("푸르다", "매우 짜다", "어제 먹었다")), ("겨울에는", ("눈이 온다", "책상이 온다", "물이 붉다")),
          ("학생은", ("학교에 간다", "하늘을 마신다", "돌을 입는다")))  # fmt: skip
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}", train: "{data}"}}}}
test_split: test
fewshot_split: train
fewshot_config: {{sampler: first_n}}
output_type: multiple_choice
doc_to_text: "{text}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
num_fewshot: {shots}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""
LETTER_TEXT = "{{question}}\\nA. {{a}}\\nB. {{b}}\\nC. {{c}}\\nD. {{d}}\\nAnswer:"


def letters(number: int, chance: random.Random) -> dict[str, Any]:
    """A question of MMLU's form."""
    right = number % len(PLACES)
    places = [PLACES[right], *chance.sample([each for each in PLACES if each != PLACES[right]], 3)]
    chance.shuffle(places)
    return {
        "question": f"{number + 1}. Which is the capital of {COUNTRIES[right]}?",
        **dict(zip("abcd", places, strict=True)), "choices": list("ABCD"), "answer": places.index(PLACES[right]),
    }  # fmt: skip


def stories(number: int, chance: random.Random) -> dict[str, Any]:
    """A sentence with ends of many and of few tokens."""
    ends = [f"looked at {thing} for {chance.randint(2, 90)} minutes." for thing in chance.sample(THINGS, 3)]
    return {
        "question": f"On day {number + 1} she came home at {chance.randint(1, 12)} and",
        "choices": [*ends, "slept."],
        "answer": number % 4,
    }


def korean(number: int, chance: random.Random) -> dict[str, Any]:
    """A Korean sentence and its end."""
    begin, ends = KOREAN[number % len(KOREAN)]
    return {"question": f"문장 {number + 1}. {begin}", "choices": list(ends), "answer": number // 3 % 3}


# Name: items, text, examples, score.
TASKS: Mapping[str, tuple[Callable[[int, random.Random], dict[str, Any]], str, int, str]] = {
    "letters": (letters, LETTER_TEXT, 0, "acc"),
    "long": (stories, "{{question}}", 0, "acc"),
    "by_length": (stories, "Story: {{question}}", 0, "acc_norm"),
    "korean": (korean, "{{question}}", 0, "acc"),
    "examples": (letters, LETTER_TEXT, 3, "acc"),
    "part_one": (letters, "Geography. " + LETTER_TEXT, 0, "acc"),
    "part_two": (letters, "Cities. " + LETTER_TEXT, 0, "acc"),
}
GROUP = "parts"


def write_tasks(evaluation: Workspace, names: list[str], items: int) -> None:
    """Write tasks, their data and a group of the last two."""
    config = {}
    for name in names:
        make, text, shots, metric = TASKS[name]
        chance = random.Random(name)  # noqa: S311 - no secret
        data = evaluation.root / "data" / f"{name}.jsonl"
        count = items // 2 if name.startswith("part") else items
        rows = [json.dumps(make(number, chance), ensure_ascii=False) + "\n" for number in range(count)]
        data.write_text("".join(rows))
        yaml = TASK.format(name=name, data=data, text=text, shots=shots)
        (evaluation.root / f"tasks/{name}.yaml").write_text(yaml)
        config[name] = {"enabled": True, "metric": metric}
    group = f"group: {GROUP}\ntask: [part_one, part_two]\naggregate_metric_list: [{{metric: acc}}]\n"
    (evaluation.root / f"groups-{GROUP}.yaml").write_text(group)
    (evaluation.root / "configs/eval_config.json").write_text(json.dumps(config))


def by_lm_eval(evaluation: Workspace, vllm: VllmServer, found: Vllm, tasks: list[str]) -> Any:  # noqa: ANN401 - JSON
    """Return what lm_eval's own client finds."""
    folder = evaluation.root / "theirs"
    folder.mkdir()
    for file in [*(evaluation.root / "tasks").glob("*.yaml"), *evaluation.root.glob("groups-*.yaml")]:
        (folder / file.name).write_text(file.read_text())
    asked = {
        "site": str(found.site), "url": vllm.url, "model": NAMES[0], "tokenizer": str(found.model), "tasks": tasks,
        "tasks_folder": str(folder), "concurrency": CONCURRENCY,
    }  # fmt: skip
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    program = Path(__file__).with_name("lm_eval_itself.py")
    done = subprocess.run(
        [sys.executable, program, json.dumps(asked)],
        env={**os.environ, **quiet, "HF_HOME": str(evaluation.root / "hf")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("RESULT "))


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Every split into context and choice that the runner's answers are of, as the server told its tokens."""
    seen: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
    by_token, by_echo = FirstToken.read, Echo.read

    def read_token(self: FirstToken, body: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if self.recorded:
            seen.update((tuple(body["choices"][0]["prompt_token_ids"]), (each,)) for each in self.ids)
        return by_token(self, body)

    def read_echo(self: Echo, body: Mapping[str, Any]) -> Any:  # noqa: ANN401
        if self.recorded:
            ids = tuple(body["choices"][0]["prompt_token_ids"])
            seen.add((ids[: self.start], ids[self.start :]))
        return by_echo(self, body)

    monkeypatch.setattr(FirstToken, "read", read_token)
    monkeypatch.setattr(Echo, "read", read_echo)
    return seen


def test_tokens_values_and_scores_are_lm_evals_own(
    evaluation: Workspace, vllm: VllmServer, found: Vllm, splits: set[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    write_tasks(evaluation, list(TASKS), ITEMS)
    assert evaluation.run() == 0
    theirs = by_lm_eval(evaluation, vllm, found, [*list(TASKS)[:5], GROUP])
    assert splits == {(tuple(context), tuple(choice)) for context, choice in theirs["splits"]}
    run = evaluation.last()
    far: dict[str, float] = {}
    for name, (_, _, _, metric) in TASKS.items():
        ours = {each.doc_id: each.judged for each in evaluation.store.samples(run, name) or []}
        for place, values in theirs["values"][name].items():
            told = [float(each.rsplit(" ", 1)[1]) for each in ours[int(place)].split(", ")]
            far[name] = max([far.get(name, 0.0), *(abs(one - other) for one, other in zip(told, values, strict=True))])
        assert run.tasks[name].score == pytest.approx(theirs["results"][name][f"{metric},none"]), name
    print(f"largest difference of a value, in nats: { {name: round(each, 5) for name, each in far.items()} }")
    assert max(far.values()) <= NEAR
    group = sum((run.tasks[name].score or 0) for name in ("part_one", "part_two")) / 2
    assert group == pytest.approx(theirs["results"][GROUP]["acc,none"])


def test_a_letter_task_costs_a_request_an_item(evaluation: Workspace, vllm: VllmServer, found: Vllm) -> None:
    """The whole run of the runner, control requests and all, beside only the asking of lm_eval, on fewer items."""
    counters = ("vllm:request_success_total", "vllm:prompt_tokens_total", "vllm:prefix_cache_hits_total")
    costs = []
    for items, ask in (
        (MANY, evaluation.run),
        (SOME, lambda: by_lm_eval(evaluation, vllm, found, ["letters"])),
    ):
        write_tasks(evaluation, ["letters"], items)
        before, began = [vllm.metric(each) for each in counters], time.monotonic()
        told = ask()
        seconds = told["seconds"] if isinstance(told, dict) else time.monotonic() - began
        counted = [vllm.metric(each) - old for each, old in zip(counters, before, strict=True)]
        costs.append([each / items for each in (*counted, seconds)])
    ours, theirs = costs
    for name, cost in (("the runner", ours), ("lm_eval itself", theirs)):
        print(
            f"{name}, for each item: {cost[0]:.2f} requests, {cost[1]:.0f} prompt tokens of which {cost[2]:.0f} in the "
            f"prefix cache, {cost[3]:.2f} s"
        )
    assert theirs[0] == 4
    assert theirs[0] / ours[0] >= 3.5
