"""Every way in which a run can fail, with its exit code.

::

    VllmEvalError
    ├── UserError                 2   bad input; a retry cannot help
    │   ├── ConfigError               eval_config.json
    │   ├── ModelsError               the list of models or MODEL_*
    │   ├── RunSettingsError          an environment variable or an option
    │   ├── TaskError                 a task's YAML or data
    │   ├── SecretError               a key or certificate file
    │   └── EndpointRefusedError      wrong key, wrong model, wrong address
    ├── InfrastructureError       3   a retry may help
    │   ├── EndpointError             the model does not answer
    │   ├── EngineError               the engine broke
    │   ├── StorageError              results cannot be read or written
    │   └── DataError                 a task's items cannot be fetched now
    ├── VerificationError         4   answers came, but do not support a score
    ├── DeadlineError             5   the runner's own deadline passed
    ├── RegressionError           6   only when asked to gate
    └── PublishError              7   the gateway took nothing; kept on disk

``Terminated`` (exit code 143) is not an error of the run: the pod is being
stopped, and the next attempt goes on from the recorded answers.
"""

from collections.abc import Sequence
from typing import ClassVar

# Names that a line of equal problems shows.
_NAMED = 3


def gathered(problems: Sequence[str]) -> list[str]:
    """Put problems of the form ``NAME: PROBLEM`` that say the same of several names into one line each."""
    names: dict[str, list[str]] = {}
    for line in problems:
        name, colon, problem = line.partition(": ")
        names.setdefault(problem if colon else "", []).append(name)
    lines = []
    for problem, each in names.items():
        if not problem:
            lines += each
            continue
        lines.append(f"{some(each, _NAMED)}: {problem}")
    return lines


def some(names: Sequence[str], most: int, more: str = "and {count} more") -> str:
    """Join names; of many the first, and how many more there are, in the words of ``more``."""
    return ", ".join(names[:most]) + (f" {more.format(count=len(names) - most)}" if len(names) > most else "")


class VllmEvalError(Exception):
    """Base of all errors that end a run with a message and no traceback."""

    exit_code: ClassVar[int] = 1


class UserError(VllmEvalError):
    """Bad input. The message names the key, the value and the cure."""

    exit_code = 2

    @classmethod
    def of(cls, source: str, problems: Sequence[str]) -> "UserError":
        """Build one error from all problems found in one source."""
        lines = "\n".join(f"  - {problem}" for problem in problems)
        return cls(f"{source}: {len(problems)} problem{'s' if len(problems) != 1 else ''}\n{lines}")


class ConfigError(UserError):
    """eval_config.json is not what it must be."""


class ModelsError(UserError):
    """The list of models, or the MODEL_* variables, are not what they must be."""


class RunSettingsError(UserError):
    """An environment variable or a command line option has an impossible value."""


class TaskError(UserError):
    """A task's YAML, data file or engine is missing or wrong."""


class SecretError(UserError):
    """A model names a key or a certificate that is not there."""


class EndpointRefusedError(UserError):
    """The endpoint answers, but refuses this key, this model or this address."""


class InfrastructureError(VllmEvalError):
    """Something outside broke; the same run may succeed later."""

    exit_code = 3


class EndpointError(InfrastructureError):
    """The model does not answer, or answers nonsense."""


class EngineError(InfrastructureError):
    """The evaluation engine failed or left no usable result."""


class StorageError(InfrastructureError):
    """Results or answers cannot be read or written."""


class DataError(InfrastructureError):
    """A task's items cannot be fetched from a hub, a registry or a bucket, or not be kept on the disk."""


class VerificationError(VllmEvalError):
    """Answers came, but at least one task's do not support a score."""

    exit_code = 4


class DeadlineError(VllmEvalError):
    """The runner's own deadline passed."""

    exit_code = 5


class RegressionError(VllmEvalError):
    """A task is worse than its baseline, and the run was asked to gate."""

    exit_code = 6


class PublishError(VllmEvalError):
    """The Pushgateway took nothing; the results are on disk."""

    exit_code = 7


class Terminated(SystemExit):
    """SIGTERM arrived; the process ends with 143.

    Derived from SystemExit, which asyncio lets pass through its loop and which
    no handler of errors swallows.
    """

    def __init__(self) -> None:
        super().__init__(143)
