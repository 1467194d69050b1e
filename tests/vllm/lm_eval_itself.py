"""lm_eval's own client on some tasks, in a process of its own: `python lm_eval_itself.py JSON` prints its results.

The tokenizer needs transformers, which only vLLM's environment has: its packages are put behind our own.
"""

import json
import sys
import time
from typing import Any


def main() -> None:
    """Run it and print scores, values, token splits and the seconds of asking as one line of JSON."""
    asked = json.loads(sys.argv[1])
    sys.path.append(asked["site"])
    import lm_eval
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from lm_eval.tasks import TaskManager

    splits: list[Any] = []
    asking: list[float] = []

    class Recorded(LocalCompletionsAPI):  # type: ignore[misc]  # lm_eval has no types
        def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            splits.extend([context, choice] for _, context, choice in requests)
            began = time.monotonic()
            values = super()._loglikelihood_tokens(requests, **kwargs)
            asking.append(time.monotonic() - began)
            return values

    model = Recorded(
        base_url=f"{asked['url']}/completions", model=asked["model"], tokenizer=asked["tokenizer"],
        tokenizer_backend="huggingface", add_bos_token=True, max_length=2048, num_concurrent=asked["concurrency"],
    )  # fmt: skip
    manager = TaskManager(include_path=asked["tasks_folder"], include_defaults=False)
    found = lm_eval.simple_evaluate(model=model, tasks=asked["tasks"], task_manager=manager, bootstrap_iters=0)
    values = {
        name: {row["doc_id"]: [value for value, _ in row["filtered_resps"]] for row in rows}
        for name, rows in found["samples"].items()
    }
    told = {"results": found["results"], "values": values, "splits": splits, "seconds": sum(asking)}
    print("RESULT", json.dumps(told, default=str))


if __name__ == "__main__":
    main()
