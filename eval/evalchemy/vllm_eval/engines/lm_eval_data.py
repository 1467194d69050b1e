"""The items of lm_eval's tasks, taken out of a task that is loaded, and put into one that needs no hub.

Imported only when lm_eval is: see ``lm_eval.py`` beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval.api.task import ConfigurableTask

from vllm_eval.data.task_data import TaskData
from vllm_eval.items import Item, Items


@dataclass(frozen=True)
class TaskItems:
    """A loaded task's items after ``process_docs``, and the names of their splits.

    ``fewshot`` is None where the task asks no examples; ``fewshot_split`` is
    None where its YAML itself holds them.
    """

    split: str
    items: list[Item]
    num_fewshot: int
    fewshot_split: str | None
    fewshot: list[Item] | None


def take(loaded: Any, *, all_fewshot: bool = False) -> TaskItems:  # noqa: ANN401 - lm_eval has no types
    """Take the items out of a loaded task.

    Parameters
    ----------
    all_fewshot
        Take what examples are drawn from even if the task asks none by itself.
    """
    config = loaded.config
    shots = int(config.num_fewshot or 0)
    split = _fewshot_split(loaded)
    drawn = loaded.fewshot_docs() if split is not None and (shots or all_fewshot) else None
    return TaskItems(
        split=str(config.test_split if config.test_split is not None else config.validation_split),
        items=[dict(item) for item in loaded.eval_docs],
        num_fewshot=shots,
        fewshot_split=split,
        fewshot=None if drawn is None else [dict(item) for item in drawn],
    )


def _fewshot_split(loaded: Any) -> str | None:  # noqa: ANN401 - lm_eval has no types
    """Name the split that lm_eval draws examples from; None if the YAML holds them, or there are none."""
    config, fewshot = loaded.config, loaded.fewshot_cfg
    if fewshot.split is not None:
        return str(fewshot.split)
    if fewshot.samples is not None:
        return None
    splits = (config.training_split, config.validation_split, config.test_split)
    return next((str(split) for split in splits if split is not None), None)


def with_items(spec: Mapping[str, Any], data: TaskData) -> dict[str, Any]:
    """Return a task's configuration with these items in the place of its data set and of ``process_docs``."""

    class Bundled(ConfigurableTask):  # type: ignore[misc]  # lm_eval has no types
        """A task of a YAML whose items are given."""

        def __init__(self, config: dict[str, Any]) -> None:
            # lm_eval takes the class from this key, and then refuses the key.
            super().__init__(config={key: value for key, value in config.items() if key != "class"})

        def download(self, *_: object, **__: object) -> None:
            """Fetch nothing."""
            self.dataset: dict[str, Items] = {}

        @property
        def eval_docs(self) -> Items:
            """The items that are scored."""
            return data.items

        def fewshot_docs(self) -> Any:  # noqa: ANN401 - as lm_eval has it
            """Return what examples are drawn from; None if the task asks none."""
            held_by_yaml = self.fewshot_cfg.split is None and self.fewshot_cfg.samples is not None
            return super().fewshot_docs() if held_by_yaml else data.fewshot

    return {**spec, "class": Bundled}
