"""What all groups of settings share."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from components.settings.forms import QualifiedName, Quantity
from components.settings.problems import Problem


class UnknownValueError(AttributeError):
    """A check read a value that is invalid, which is another problem."""


def each_alone(checks: Iterable[Iterator[Problem]]) -> Iterator[Problem]:
    """Yield what each of several checks finds; an invalid value ends only the check that reads it."""
    for check in checks:
        with contextlib.suppress(UnknownValueError):
            yield from check


class Group(BaseModel):
    """Base of all groups: unknown keys and loose types are errors, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            """Tell an invalid value, which `partial.py` left out of its group, from a name that does not exist."""
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
        """Return these laid over the defaults; without a memory limit a container could use all of the node."""
        return Resources(requests={**defaults.requests, **self.requests}, limits={**defaults.limits, **self.limits})
