"""What all groups of settings share."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from components.settings.forms import QualifiedName, Quantity
from components.settings.problems import Problem


class UnknownValueError(AttributeError):
    """A check asked for a value that is wrong itself, which is another problem."""


def each_alone(checks: Iterable[Iterator[Problem]]) -> Iterator[Problem]:
    """Yield what each of several checks finds; one that meets a value that is wrong itself ends alone."""
    for check in checks:
        with contextlib.suppress(UnknownValueError):
            yield from check


class Group(BaseModel):
    """Base of all groups: unknown keys and loose types are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            """Tell a value that was left out of a partly wrong group (`partial.py`) from a name that is none."""
            if name in type(self).model_fields:
                raise UnknownValueError(name)
            return super().__getattr__(name)


class Resources(Group):
    """Requests and limits of a container, laid over its own."""

    requests: dict[QualifiedName, Quantity] = Field(
        default_factory=dict,
        description="Resources to reserve, in addition to the container's own.",
        examples=[{"cpu": "500m", "memory": "1Gi"}],
    )
    limits: dict[QualifiedName, Quantity] = Field(
        default_factory=dict,
        description="Limits, in addition to the container's own.",
        examples=[{"memory": "4Gi"}],
    )

    def over(self, defaults: "Resources") -> "Resources":
        """Return these over others. What is not named stays: without a memory limit, a container takes the node's."""
        return Resources(requests={**defaults.requests, **self.requests}, limits={**defaults.limits, **self.limits})
