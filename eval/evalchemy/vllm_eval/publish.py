"""Publishes the results store to the Pushgateway.

A group is computed from the store alone: publishing again changes nothing, and
what a dead gateway missed is published by the next run or ``vllm-eval publish``.
"""

import json
import logging
import time
from collections.abc import Sequence
from urllib.parse import quote

from vllm_eval.errors import StorageError
from vllm_eval.exposition import build_group
from vllm_eval.gateway import Gateway
from vllm_eval.records import RunResult
from vllm_eval.results import ResultStore

log = logging.getLogger(__name__)

# A run that started later than now has a wrong clock behind it and must not
# block every run until then.
CLOCK_TOLERANCE_SECONDS = 300.0
KEPT_LISTS = 50
# A group is sent again if another run changed the store meanwhile, at most so often.
MAX_SENDS = 3


def ended_runs(runs: Sequence[RunResult], *, now: float | None = None) -> list[RunResult]:
    """Return the runs that ended and whose start is believable, by recorded start."""
    latest = (time.time() if now is None else now) + CLOCK_TOLERANCE_SECONDS
    for run in runs:
        if run.started > latest:
            log.warning("run %s started in the future by this machine's clock and is left out", run.run_id)
    return [run for run in runs if run.ended is not None and run.started <= latest]


class Publisher:
    """Publishes models of one stack.

    Parameters
    ----------
    gateway
        None: nothing is published, and that is said.
    """

    def __init__(self, store: ResultStore, gateway: Gateway | None, stack: str) -> None:
        self._store = store
        self._gateway = gateway
        self._stack = stack

    def record_list(self, run_id: str, started: float, models: Sequence[str]) -> None:
        """Keep the list of models that a run was given, so that the latest list decides who is retired.

        A later attempt of the same run records nothing: its list is as old as the first attempt.
        """
        content = {"run_id": run_id, "started": started, "models": list(models)}
        ending = f"-{quote(run_id, safe='')}.json"
        if any(name.endswith(ending) for name in self._store.storage.list(self._lists)):
            return
        path = f"{self._lists}/{started:015.3f}{ending}"
        self._store.storage.write(path, json.dumps(content, ensure_ascii=False).encode())
        for name in self._store.storage.list(self._lists)[:-KEPT_LISTS]:
            self._store.storage.delete(f"{self._lists}/{name}")

    def latest_list(self) -> tuple[str, ...] | None:
        """Return the models of the list with the latest start; None when no run had one."""
        for name in reversed(self._store.storage.list(self._lists)):
            try:
                content = json.loads(self._store.storage.read(f"{self._lists}/{name}") or b"")
                started, models = float(content["started"]), tuple(str(model) for model in content["models"])
            except (ValueError, KeyError, TypeError):
                continue
            if started <= time.time() + CLOCK_TOLERANCE_SECONDS:
                return models
        return None

    def publish(self, model: str, *, listed: bool, run_id: str | None = None) -> bool:
        """Publish one model's group.

        Parameters
        ----------
        listed
            Whether the caller was given the stack's list of models; then a
            model that a later list dropped is not published again.
        run_id
            The run that has just ended, None if none has.

        Returns
        -------
        bool
            False when there was nothing to publish or nowhere to publish it.

        Raises
        ------
        PublishError
            The gateway took nothing.
        """
        if self._gateway is None:
            log.warning("no Pushgateway is set (VLLM_EVAL_PUSHGATEWAY): the scores are stored, but not published")
            return False
        latest = self.latest_list() if listed else None
        if latest is not None and model not in latest:
            log.warning("%s is no longer in the stack's list of models; nothing is published for it", model)
            return False
        sent: list[RunResult] = []
        for _ in range(MAX_SENDS):
            runs = ended_runs(self._store.runs(self._stack, model))
            if runs == sent:
                break
            # Without a lock (remote storage) another run may end between our
            # reading and our sending: then what was sent is older than it must be.
            self._send(self._gateway, model, runs)
            sent = runs
        if not sent:
            return False
        if run_id is not None and sent[-1].run_id != run_id:
            log.warning(
                "run %s started later by its recorded clock than run %s and stays the published one",
                sent[-1].run_id, run_id,
            )  # fmt: skip
        self._store.storage.delete(self._retired(model))
        return True

    def publish_unsaved(self, run: RunResult) -> None:
        """Publish the failure of a run that could not be stored, with what can be read of the store.

        Raises
        ------
        PublishError
            The gateway took nothing.
        """
        if self._gateway is None:
            return
        model = run.model["name"]
        try:
            before = ended_runs(self._store.runs(self._stack, model))
        except StorageError:
            before = []
        self._send(self._gateway, model, [*(item for item in before if item.run_id != run.run_id), run])

    def _send(self, gateway: Gateway, model: str, runs: Sequence[RunResult]) -> None:
        text = build_group(runs).text()
        if any(task.good for run in runs for task in run.tasks.values()):
            gateway.replace(self._stack, model, text)
        else:
            # Nothing good is known here, perhaps because the claim was lost or
            # is an emptyDir: then a last good score in the gateway must stay (docs/adr/publish-post.md).
            gateway.add(self._stack, model, text)

    def retire(self) -> list[str]:
        """Delete the groups of models of this stack that the latest list lacks; each once.

        Raises
        ------
        PublishError
            The gateway took nothing.
        """
        listed = self.latest_list()
        if self._gateway is None or listed is None:
            return []
        gone = []
        for model in self._store.models(self._stack):
            if model in listed or self._store.storage.read(self._retired(model)) is not None:
                continue
            self._gateway.delete(self._stack, model)
            self._store.storage.write(self._retired(model), b"{}\n")
            log.info("%s is no longer in the list of models: its series are removed from the Pushgateway", model)
            gone.append(model)
        return gone

    @property
    def _lists(self) -> str:
        return f"lists/{quote(self._stack, safe='')}"

    def _retired(self, model: str) -> str:
        return f"retired/{quote(self._stack, safe='')}/{quote(model, safe='')}.json"
