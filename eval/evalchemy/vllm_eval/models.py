"""The model to evaluate: one entry of the stack's list, or the pod's environment.

`Model` and `Baseline` are what the classes of the same names in `components/settings/model.py` become in the pod.
"""

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from vllm_eval.asking import Asking, Reasoning, check_block
from vllm_eval.errors import ModelsError
from vllm_eval.strict import Strict, parse_json, problems

Api = Literal["completions", "chat"]
# The stack's settings take what follows from here, so that they refuse what the runner would.
# Requests in flight that one model may be given, and that it is given by default.
MOST_REQUESTS: Final = 4096
CONCURRENCY: Final = 8
# What the base manifest holds until CI writes a commit. Such runs cannot be told apart, so the next leaves nothing out.
UNKNOWN_COMMITS: Final = frozenset({"", "unknown"})
# A label value of any text would do for Prometheus; control characters and
# overlong names are mistakes, and `name` becomes a folder name as well.
CONTROL: Final = r"\x00-\x1f\x7f"
LONGEST_NAME: Final = 180
Name = Annotated[str, StringConstraints(pattern=rf"^[^{CONTROL}]+$", min_length=1, max_length=LONGEST_NAME)]
TaskName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
RunId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ThinkEndToken = Annotated[str, StringConstraints(min_length=1, max_length=200)]
SecretKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=253)]


Task = TypeVar("Task")


class Baseline(Strict):
    """The run that was accepted as the baseline."""

    run: RunId


class Model(Strict):
    """One served model.

    ``name`` labels the series ``model``, ``tag`` is ``model_tag``;
    ``endpoint`` is the base URL of the OpenAI API, with ``/v1``;
    ``served_name`` (default: ``name``) is what the endpoint is asked for;
    ``concurrency`` is the number of requests in flight; ``api_key`` and ``ca``
    name files of the Secret; ``tasks`` are the lines of eval_config.json that
    it is asked (default: all that are enabled). ``generation``, ``reasoning`` and
    ``think_end_token`` are the model's own block (:class:`Asking`). ``stream``:
    answers come token by token, so that their times are known.
    """

    name: Name
    tag: Name
    endpoint: str
    served_name: Name | None = None
    api: Api = "completions"
    concurrency: Annotated[int, Field(ge=1, le=MOST_REQUESTS)] = CONCURRENCY
    api_key: SecretKey | None = None
    ca: SecretKey | None = None
    baseline: Baseline | None = None
    generation: dict[str, Any] | None = None
    reasoning: Reasoning | None = None
    think_end_token: ThinkEndToken | None = None
    stream: bool = False
    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1, strict=False)] | None = None

    @property
    def asking(self) -> Asking:
        """How it is asked, besides its API."""
        return Asking(
            generation=self.generation or {}, reasoning=self.reasoning, think_end_token=self.think_end_token
        )  # fmt: skip

    @model_validator(mode="after")
    def _check_block(self) -> "Model":
        found = check_block(self.asking, self.api)
        if found:
            raise ValueError("; ".join(found))
        return self

    @property
    def asked_name(self) -> str:
        """The model id that requests carry."""
        return self.served_name or self.name

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str) -> str:
        try:
            url = urlsplit(value)
            host, _ = url.hostname, url.port
        except ValueError as error:
            raise ValueError(f"not a URL: {error}") from None
        if url.scheme not in {"http", "https"} or not host:
            raise ValueError("must be an http or https URL, for example http://model.serving.svc:8000/v1")
        if url.username or url.password or url.query or url.fragment:
            raise ValueError("must not carry a user, a query or a fragment; a key belongs in the Secret (api_key)")
        path = url.path.rstrip("/")
        for suffix in ("/chat/completions", "/completions", "/models"):
            if path.endswith(suffix):
                raise ValueError(f"must be the base URL; remove {suffix!r}")
        return value.rstrip("/")

    def identity(self) -> dict[str, str]:
        """Return what must be equal for two runs to have asked the same thing."""
        return {
            "name": self.name,
            "tag": self.tag,
            "endpoint": self.endpoint,
            "served_name": self.asked_name,
            "api": self.api,
            **{key: value if isinstance(value, str) else _json(value) for key, value in self.asking.told.items()},
        }


@dataclass(frozen=True)
class Selection:
    """The model of this pod, and the list it came from.

    ``listed`` holds the names of all models of the stack, or is None when the
    model came from the environment: then nothing is known about the others.
    ``list_hash`` is the SHA-256 of the list (hex), empty without a list.
    ``listed_tasks`` are the tasks of each listed model, None for all.
    """

    model: Model
    listed: tuple[str, ...] | None
    list_hash: str
    listed_tasks: tuple[tuple[str, ...] | None, ...] = ()

    def series(self, enabled: int) -> int:
        """Return how many scores the stack compares, of ``enabled`` tasks and groups."""
        each = self.listed_tasks if self.listed is not None else (self.model.tasks,)
        return sum(enabled if tasks is None else len(tasks) for tasks in each)


def choose_tasks(model: Model, enabled: Mapping[str, Task]) -> dict[str, Task]:
    """Return the enabled tasks that a model is asked, in the configuration's order.

    Raises
    ------
    ModelsError
        The model names tasks that are not enabled.
    """
    if model.tasks is None:
        return dict(enabled)
    found = [unknown_task(name, list(enabled)) for name in model.tasks if name not in enabled]
    found += [f"{name!r} is there twice" for name, count in Counter(model.tasks).items() if count > 1]
    if found:
        raise ModelsError.of("models", [f"{model.name}: tasks: {problem}" for problem in found])
    return {name: task for name, task in enabled.items() if name in model.tasks}


def unknown_task(name: str, enabled: Sequence[str]) -> str:
    """Say that a model's task is not enabled, with what may have been meant."""
    near = difflib.get_close_matches(name, enabled, n=3) or list(enabled)[:5]
    return f"{name!r} is not enabled in the configuration; enable it there, or take one of its names: {', '.join(near)}"


def parse_models(text: str, source: str) -> tuple[Model, ...]:
    """Parse the JSON list of models.

    Raises
    ------
    ModelsError
        With all problems of the list at once.
    """
    try:
        raw = parse_json(text)
    except ValueError as error:
        raise ModelsError(f"{source}: not JSON: {error}") from None
    if not isinstance(raw, list):
        raise ModelsError(f"{source}: must be a JSON list of models, is {type(raw).__name__}")
    models: list[Model] = []
    found: list[str] = []
    for index, entry in enumerate(raw):
        try:
            models.append(Model.model_validate(entry))
        except ValidationError as error:
            found += problems(error, f"[{index}]")
    for field in ("name", "tag"):
        seen: dict[str, str] = {}
        for model in models:
            value = str(getattr(model, field))
            if value in seen:
                found.append(
                    f"{field}: {value!r} is used twice ({seen[value]!r} and {model.name!r}); every {field} once"
                )
            seen[value] = model.name
    if found:
        raise ModelsError.of(source, found)
    return tuple(models)


def select_model(models_file: Path, environ: Mapping[str, str], single: Mapping[str, object]) -> Selection:
    """Choose the model of this pod.

    Parameters
    ----------
    models_file
        The downwardAPI file; may be absent, or hold ``[]``.
    environ
        ``JOB_COMPLETION_INDEX`` chooses from the list; without a list,
        ``MODEL_ENDPOINT``, ``MODEL_NAME`` and ``MODEL_TAG`` are the model.
    single
        Fields given on the command line; any of them means: this one model.

    Raises
    ------
    ModelsError
        No model given, or one that is not valid.
    """
    if single:
        return _single(environ, single, "command line")
    text = models_file.read_text(encoding="utf-8").strip() if models_file.is_file() else ""
    models = parse_models(text or "[]", str(models_file))
    if not models:
        return _single(environ, {}, "environment")
    raw_index = environ.get("JOB_COMPLETION_INDEX", "0" if len(models) == 1 else None)
    if raw_index is None:
        raise ModelsError(
            f"{models_file} lists {len(models)} models, but JOB_COMPLETION_INDEX does not say which is this pod's; "
            "the Job must be Indexed (outside of one, set the variable or use --endpoint)"
        )
    if not raw_index.isdecimal() or int(raw_index) >= len(models):
        raise ModelsError(
            f"JOB_COMPLETION_INDEX is {raw_index!r}, but {models_file} lists {len(models)} models; "
            "the Job's completions must be the number of models"
        )
    return Selection(
        model=models[int(raw_index)],
        listed=tuple(model.name for model in models),
        list_hash=list_hash(models),
        listed_tasks=tuple(model.tasks for model in models),
    )


def list_hash(models: Sequence[Model]) -> str:
    """Return the SHA-256 (hex) of a list of models: of all that it says, defaults too."""
    return hashlib.sha256(_json([_whole(model) for model in models]).encode()).hexdigest()


def _whole(model: Model) -> dict[str, Any]:
    """Return all that an entry says; keys that it lacks leave the hash of the list as it was before them."""
    said: dict[str, Any] = model.model_dump(mode="json")
    later = ("generation", "reasoning", "think_end_token", "stream", "tasks")
    return {key: value for key, value in said.items() if key not in later or value not in (None, False)}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


# Field -> the option and the variable that set it for one model without a list.
_SINGLE: Final[Mapping[str, tuple[str, str]]] = {
    "endpoint": ("--endpoint", "MODEL_ENDPOINT"),
    "name": ("--model", "MODEL_NAME"),
    "tag": ("--tag", "MODEL_TAG"),
}


def _single(environ: Mapping[str, str], given: Mapping[str, object], source: str) -> Selection:
    entry = {key: environ[variable] for key, (_, variable) in _SINGLE.items() if environ.get(variable)}
    merged: dict[str, object] = {**entry, **given}
    missing = [f"{option} ({variable})" for key, (option, variable) in _SINGLE.items() if key not in merged]
    if missing:
        raise ModelsError(
            "no model to evaluate: the list of models is empty and there is no default; "
            f"set {', '.join(missing)}, or add a model to the stack's settings"
        )
    try:
        model = Model.model_validate(merged)
    except ValidationError as error:
        raise ModelsError.of(source, [_by_source(problem, given) for problem in problems(error)]) from None
    return Selection(model=model, listed=None, list_hash="")


def _by_source(problem: str, given: Mapping[str, object]) -> str:
    """Name the option or the variable that was set, in the place of the field."""
    key, _, rest = problem.partition(":")
    option, variable = _SINGLE.get(key, (f"--{key.replace('_', '-')}", ""))
    return f"{option if key in given else variable}:{rest}"
