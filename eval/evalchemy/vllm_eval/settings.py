"""What the pod's environment and the command line set, read once and checked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from vllm_eval.errors import RunSettingsError
from vllm_eval.pages.words import LANGUAGES
from vllm_eval.strict import shown

# The Job that Argo CD or Pulumi owns. Only a run of this Job may leave out
# models that did not change; the nightly's Jobs and those that people create
# from it have other names and evaluate everything.
INCREMENTAL_JOB = "evalchemy"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of one run; durations in seconds.

    The names of the environment variables are in ``VARIABLES`` and, with
    their meaning, in docs/architecture.md.
    """

    config: Path = Path("/opt/vllm-eval/configs/eval_config.json")
    tasks: Path | None = None
    results: str = "/results"
    pushgateway: str = ""
    stack: str = "default"
    run_id: str = ""
    job_name: str = ""
    models_file: Path = Path("/etc/vllm-eval/pod/models.json")
    git_commit_file: Path = Path("/etc/vllm-eval/pod/git-commit")
    secrets: Path = Path("/etc/vllm-eval/secrets")
    limit: int | None = None
    deadline: float = 14400.0
    answer_max_age: float = 21600.0
    endpoint_wait: float = 300.0
    request_timeout: float | None = None
    publish_wait: float = 120.0
    keep_runs: int = 100
    keep_days: float = 400.0
    gate: bool = False
    force: bool = False
    seed: int = 1234
    data: str = ""
    language: str = "en"

    @property
    def tasks_folder(self) -> Path:
        """The folder of task YAML files, unless set: ``tasks`` beside the config's folder, or one level up (suites)."""
        if self.tasks is not None:
            return self.tasks
        folders = [each / "tasks" for each in self.config.resolve().parents[1:3]]
        return next((each for each in folders if each.is_dir()), folders[0] if folders else Path("/tasks"))

    @property
    def incremental(self) -> bool:
        """Whether models that did not change since the last run may be left out."""
        return not self.force and self.job_name == INCREMENTAL_JOB


def _number(minimum: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not minimum <= value < 1e9:
            raise ValueError(f"must be a number from {minimum:g}")
        return value

    return parse


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be a whole number from 1")
    return value


def _flag(text: str) -> bool:
    if text not in {"0", "1", "true", "false"}:
        raise ValueError("must be 1, 0, true or false")
    return text in {"1", "true"}


def _gateway(text: str) -> str:
    url = urlsplit(text)
    _ = url.port  # a port that is no number is an error only when it is read
    if url.scheme not in {"http", "https"} or not url.hostname or url.query or url.fragment:
        raise ValueError("must be an http or https URL like http://vllm-eval-pushgateway:9091")
    if not url.username and "@" in text:
        raise ValueError("write a user's or password's special characters in percent encoding (/ is %2F, @ is %40)")
    return text.rstrip("/")


def _results(text: str) -> str:
    if not text.strip():
        raise ValueError("must be a folder or an fsspec URL like s3://bucket/path")
    return text


def _data(text: str) -> str:
    if not text.strip():
        raise ValueError("must be a bundle: a folder, an fsspec URL like s3://bucket/path, or oci://registry/name:tag")
    return text


def _language(text: str) -> str:
    if text not in LANGUAGES:
        raise ValueError(f"must be one of {', '.join(LANGUAGES)}")
    return text


def _label(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("must not hold control characters")
    return text


# Environment variable -> (field, parser). An empty variable counts as unset,
# except for the gateway, where empty means: do not publish.
VARIABLES: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "VLLM_EVAL_CONFIG": ("config", Path),
    "VLLM_EVAL_TASKS": ("tasks", Path),
    "VLLM_EVAL_RESULTS": ("results", _results),
    "VLLM_EVAL_PUSHGATEWAY": ("pushgateway", _gateway),
    "VLLM_EVAL_STACK": ("stack", _label),
    "VLLM_EVAL_RUN_ID": ("run_id", _label),
    "VLLM_EVAL_JOB_NAME": ("job_name", _label),
    "VLLM_EVAL_MODELS_FILE": ("models_file", Path),
    "VLLM_EVAL_GIT_COMMIT_FILE": ("git_commit_file", Path),
    "VLLM_EVAL_SECRETS": ("secrets", Path),
    "VLLM_EVAL_LIMIT": ("limit", _count),
    "VLLM_EVAL_DEADLINE_SECONDS": ("deadline", _number(1)),
    "VLLM_EVAL_ANSWER_MAX_AGE_SECONDS": ("answer_max_age", _number(0)),
    "VLLM_EVAL_ENDPOINT_WAIT_SECONDS": ("endpoint_wait", _number(0)),
    "VLLM_EVAL_REQUEST_TIMEOUT_SECONDS": ("request_timeout", _number(0.01)),
    "VLLM_EVAL_PUBLISH_WAIT_SECONDS": ("publish_wait", _number(0)),
    "VLLM_EVAL_KEEP_RUNS": ("keep_runs", _count),
    "VLLM_EVAL_KEEP_DAYS": ("keep_days", _number(0)),
    "VLLM_EVAL_GATE": ("gate", _flag),
    "VLLM_EVAL_FORCE": ("force", _flag),
    "VLLM_EVAL_DATA": ("data", _data),
    "VLLM_EVAL_LANGUAGE": ("language", _language),
}


def load_settings(environ: Mapping[str, str], options: Mapping[str, object]) -> RunSettings:
    """Combine defaults, environment and command line; the later wins.

    Parameters
    ----------
    environ
        The process environment; variables of others are ignored, an unknown
        ``VLLM_EVAL_*`` is an error, since it is a misspelt setting.
    options
        Fields of :class:`RunSettings` given on the command line; None: not given.

    Raises
    ------
    RunSettingsError
        With all problems at once.
    """
    values: dict[str, object] = {}
    found: list[str] = []
    given = [(name, text) for name, text in environ.items() if name.startswith("VLLM_EVAL_") and text]
    for variable, text in given:
        if variable in VARIABLES:
            _take(values, found, variable, VARIABLES[variable], text)
        elif variable not in IGNORED and not SERVICE_LINK.fullmatch(variable):
            found.append(f"{variable}: unknown variable; known are {', '.join(sorted(VARIABLES))}")
    parsers = dict(VARIABLES.values())
    for name, value in options.items():
        if isinstance(value, str) and name in parsers:
            _take(values, found, OPTIONS.get(name, f"--{name}"), (name, parsers[name]), value)
        elif value is not None and name in parsers:
            values[name] = value
    if found:
        raise RunSettingsError.of("settings", found)
    return RunSettings(**values)  # type: ignore[arg-type]  # each parser returns its field's type


def _take(
    values: dict[str, object], found: list[str], source: str, field: tuple[str, Callable[[str], object]], text: str
) -> None:
    name, parse = field
    try:
        values[name] = parse(text)
    except ValueError as error:
        found.append(f"{source}: {error} (got {shown(text)})")


# Options whose names differ from their fields'.
OPTIONS: Mapping[str, str] = {"results": "--out"}

# Kubernetes gives a pod such variables for every Service of its namespace, and
# the Pushgateway's Service is named vllm-eval-pushgateway.
SERVICE_LINK = re.compile(r"VLLM_EVAL_.*_(SERVICE_(HOST|PORT)(_.*)?|PORT(_[0-9]+_(TCP|UDP|SCTP).*)?)")

# Read elsewhere: by other programs of this project, or where a hub is asked (the last).
IGNORED = frozenset({"VLLM_EVAL_CACHE", "VLLM_EVAL_EVALCHEMY_HOME", "VLLM_EVAL_HUB_CA", "VLLM_EVAL_TOKENIZER"})
