"""A resource as the engine keeps it in its state, and one that was made but is not usable."""

from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto.provider_pb2 import ErrorResourceInitFailed

from sandbox.plugins import properties
from sandbox.plugins.server import PluginError


@dataclass(frozen=True)
class Resource:
    """What the state holds of a resource."""

    id: str
    inputs: properties.Object
    outputs: properties.Object


class PartialError(PluginError):
    """The resource is there, but not as it should be: the engine keeps it, and the next update goes on from there."""

    def __init__(self, reason: str, resource: Resource) -> None:
        super().__init__(reason)
        self._resource = resource

    def describe(self, like: Struct) -> None:
        """Give the engine what to keep; secret is what is secret in `like`."""
        self.detail = ErrorResourceInitFailed(
            id=self._resource.id,
            properties=properties.write(self._resource.outputs, like),
            inputs=properties.write(self._resource.inputs, like),
            reasons=[str(self)],
        )
