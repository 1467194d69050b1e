"""Results: of one task, and a history of a model that was steady for weeks, and then became worse under a new tag."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from vllm_eval.baseline import BaselineRule, compare_run
from vllm_eval.records import RunResult, Sample, TaskResult, item_values, leaf_item
from vllm_eval.results import ResultStore
from vllm_eval.stats import standard_error
from vllm_eval.storage import LocalStorage

SERVED = {"name": "org/m", "tag": "v1", "endpoint": "http://m/v1", "served_name": "m", "api": "completions"}
STACK = "local"
MODEL = "org/small-model"
DAY = 86400.0
START = 1_790_000_000.0
NAMES = ("Mina", "Joon", "Sora", "Hana", "Daniel", "Ines", "Tomas", "Yuna")
THINGS = ("apples", "tickets", "stickers", "cups", "pencils", "books")


def question(index: int) -> tuple[str, str, str]:
    """Return a sum in words, how it is worked out, and its answer."""
    draw = random.Random(index)  # noqa: S311 - no secret
    name, thing = draw.choice(NAMES), draw.choice(THINGS)
    have, more, friends = draw.randint(12, 60), draw.randint(3, 30), draw.randint(2, 6)
    text = (
        f"{name} has {have} {thing} and buys {more} boxes of {friends} each. {name} then gives away {friends}. "
        f"How many {thing} does {name} have in the end?"
    )
    answer = have + more * friends - friends
    return text, f"{more} boxes of {friends} are {more * friends}. {have} + {more * friends} - {friends}", str(answer)


def samples(count: int, share: float, seed: int, *, luck: float = 0.03) -> list[Sample]:
    """Return ``count`` items, some ``share`` of them right; ``luck`` is the share that differs by ``seed``."""
    made = []
    for index in range(count):
        text, working, target = question(index)
        steady, lucky = random.Random(index * 7 + 1), random.Random(index * 1000 + seed)  # noqa: S311
        right = (lucky if lucky.random() < luck else steady).random() < share
        value = target if right else str(int(target) + lucky.choice((-10, -1, 1, 9)))
        cut = not right and lucky.random() < 0.1
        answer = f"{working} =" if cut else f"{working} = {value}.\nThe answer is {value}."
        made.append(
            Sample(
                item=f"{index}-{index * 2654435761 % 2**32:08x}",
                doc_id=index,
                value=float(right),
                prompt=f"Question: What is 2 + 3?\nAnswer: 2 + 3 = 5. The answer is 5.\n\nQuestion: {text}\nAnswer:",
                target=target,
                answer=answer,
                judged="" if cut else value,
                finish_reason="length" if cut else "stop",
            )
        )
    return made


def save_run(
    store: ResultStore, run_id: str, day: float, tag: str, tasks: Mapping[str, Sequence[Sample]], *, model: str = MODEL
) -> RunResult:
    """Store a run with these answers, compared with those before it."""
    results = {name: result_of(name, items) for name, items in tasks.items()}
    started = START + day * DAY
    asked = sum(len(items) for items in tasks.values())
    identity = {"name": model, "tag": tag, "endpoint": "http://model.serving.svc:8000/v1", "served_name": model}
    run = RunResult(
        run_id=run_id, stack=STACK, model={**identity, "api": "completions"}, git_commit="4f1d2c9a7be0" + "0" * 28,
        job_name="evalchemy-nightly-29", started=started, ended=started + 431.0, duration=431.0, asked=asked, retries=3,
        requests_per_second=asked / 425.0, served=(model,), tasks=results,
    )  # fmt: skip
    for name, items in tasks.items():
        store.save_samples(run, name, items, {})
    rule = BaselineRule(accepted=None, series=len(tasks))
    run = compare_run(store, [*store.runs(STACK, model), run], run, rule)
    store.save(run)
    return run


def save_group(
    store: ResultStore, run_id: str, day: float, tag: str, group: str, leaves: Mapping[str, Sequence[Sample]]
) -> RunResult:
    """Store a run of one group, whose score is the mean of all items, compared with those before it."""
    run = save_run(store, run_id, day, tag, leaves)
    pooled = [
        item.model_copy(update={"item": leaf_item(leaf, item.item)}) for leaf, items in leaves.items() for item in items
    ]
    whole = result_of(group, pooled).model_copy(update={"leaves": tuple(leaves)})
    run = run.model_copy(update={"tasks": {group: whole}, "leaves": run.tasks})
    store.save_values(run, group, item_values(pooled))
    earlier = [each for each in store.runs(STACK, MODEL) if each.run_id != run_id]
    run = compare_run(store, [*earlier, run], run, BaselineRule(accepted=None, series=1))
    store.save(run)
    return run


def result_of(name: str, items: Sequence[Sample]) -> TaskResult:
    """Return the result that these answers give."""
    values = [item.value for item in items]
    return TaskResult(
        task=name, task_hash=f"hash-of-{name}", engine="lm_eval", engine_version="lm_eval 0.4.13", good=True,
        score=sum(values) / len(values), stderr=standard_error(values), samples=len(items), expected=len(items),
        empty=sum(not (item.answer or "").strip() for item in items),
        truncated=sum(item.finish_reason == "length" for item in items), filter="strip", paired=True,
    )  # fmt: skip


def history(folder: Path, *, items: int = 500, days: int = 14) -> RunResult:
    """Fill a folder with ``days`` nightly runs, and one of today that became worse in one of its two tasks."""
    store = ResultStore(LocalStorage(folder))
    for day in range(days):
        tag = "v1" if day < days - 4 else "v2"
        save_run(
            store, f"nightly-{day:02d}", day, tag,
            {"custom_task_1": samples(items, 0.72, day), "custom_task_2": samples(items // 2, 0.55, day + 100)},
        )  # fmt: skip
    return save_run(
        store, "today", days, "v3",
        {"custom_task_1": samples(items, 0.58, 99, luck=0.2), "custom_task_2": samples(items // 2, 0.55, 199)},
    )  # fmt: skip


def result(score: float | None = 0.8, **fields: object) -> TaskResult:
    """Return the result of task ``t``; without a score, one that failed."""
    values: dict[str, object] = {
        "task": "t", "task_hash": "hash", "engine": "fake", "engine_version": "fake 1", "good": score is not None,
        "score": score, "stderr": 0.05 if score is not None else None, "samples": 100, "expected": 100, "ended": 10.0,
    }  # fmt: skip
    return TaskResult.model_validate({**values, **fields})


def run(number: int, task: TaskResult, tag: str = "v1", **fields: object) -> RunResult:
    """Return the run ``r<number>`` of one task."""
    values: dict[str, object] = {
        "run_id": f"r{number}", "stack": "s", "model": {**SERVED, "tag": tag}, "git_commit": "abc",
        "started": float(number), "ended": number + 0.5, "duration": 0.5, "requests_per_second": 12.5,
        "tasks": {"t": task},
    }  # fmt: skip
    return RunResult.model_validate({**values, **fields})
