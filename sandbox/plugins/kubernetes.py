"""Stand-in for `pulumi-resource-kubernetes`: the kinds that this program declares, and no more.

Secrets come marked, are handled in plain here, and leave marked again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.protobuf.empty_pb2 import Empty
from google.protobuf.struct_pb2 import Struct
from grpc import Server
from grpc import ServicerContext as Context
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc
from pulumi.runtime.proto import provider_pb2 as proto

from sandbox.plugins import kubeconfig, properties
from sandbox.plugins.cluster import Cluster
from sandbox.plugins.helm import Releases
from sandbox.plugins.objects import Objects
from sandbox.plugins.properties import Change
from sandbox.plugins.resource import PartialError
from sandbox.plugins.server import reported, serve, stopping

VERSION: Final = "4.34.2"  # of the SDK whose resources these are
RELEASE: Final = "kubernetes:helm.sh/v3:Release"
WAIT_SECONDS: Final = 600.0


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider's gRPC service; method names are the protocol's."""

    _objects: Objects
    _releases: Releases

    def Handshake(self, request: proto.ProviderHandshakeRequest, context: Context) -> proto.ProviderHandshakeResponse:
        """Accept the engine."""
        return proto.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:
        """Return the version of the SDK that this goes with."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: proto.GetSchemaRequest, context: Context) -> proto.GetSchemaResponse:
        """Return an empty schema: programs bring their SDK."""
        return proto.GetSchemaResponse(schema='{"name": "kubernetes"}')

    def CheckConfig(self, request: proto.CheckRequest, context: Context) -> proto.CheckResponse:
        """Accept the provider's options."""
        return proto.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: proto.DiffRequest, context: Context) -> proto.DiffResponse:
        """Replace the provider, and with it all resources, only for another cluster by name."""
        return _diff(request, ("clusterIdentifier",), blocks=False)

    @reported
    def Configure(self, request: proto.ConfigureRequest, context: Context) -> proto.ConfigureResponse:
        """Read the kubeconfig; the cluster is asked by the first resource that needs it."""
        given = properties.read(request.args)
        access = kubeconfig.load(given.get("kubeconfig"), given.get("context"))
        cluster = Cluster(access)
        # The SDK sends booleans as JSON text.
        options = frozenset(name for name, value in given.items() if value in (True, "true"))
        self._objects, self._releases = Objects(cluster, options, given.get("namespace")), Releases(cluster)
        return proto.ConfigureResponse(supportsPreview=True, acceptSecrets=True)

    @reported
    def Check(self, request: proto.CheckRequest, context: Context) -> proto.CheckResponse:
        """Complete a resource's inputs."""
        old, new = properties.read(request.olds), properties.read(request.news)
        checked = self._of(request.type).check(request.name, old, new)
        return proto.CheckResponse(inputs=properties.write(checked, request.news))

    @reported
    def Diff(self, request: proto.DiffRequest, context: Context) -> proto.DiffResponse:
        """Compare inputs with inputs."""
        kind = self._of(request.type)
        old, new = properties.read(request.old_inputs), properties.read(request.news)
        return _diff(request, kind.immutable(new), blocks=kind.blocks(old, new))

    @reported
    def Create(self, request: proto.CreateRequest, context: Context) -> proto.CreateResponse:
        """Create a resource."""
        inputs, seconds = properties.read(request.properties), request.timeout or WAIT_SECONDS
        with _kept(request.properties):
            done = self._of(request.type).create(inputs, seconds, preview=request.preview)
        return proto.CreateResponse(id=done.id, properties=properties.write(done.outputs, request.properties))

    @reported
    def Read(self, request: proto.ReadRequest, context: Context) -> proto.ReadResponse:
        """Return a resource as it is in the cluster; no id if it is gone."""
        seen = self._of(request.type).read(request.type, request.id, properties.read(request.inputs))
        if seen is None:
            return proto.ReadResponse()
        inputs, outputs = (properties.write(each, request.inputs) for each in (seen.inputs, seen.outputs))
        return proto.ReadResponse(id=seen.id, inputs=inputs, properties=outputs)

    @reported
    def Update(self, request: proto.UpdateRequest, context: Context) -> proto.UpdateResponse:
        """Change a resource in place."""
        inputs, seconds = properties.read(request.news), request.timeout or WAIT_SECONDS
        with _kept(request.news):
            done = self._of(request.type).update(inputs, seconds, preview=request.preview)
        return proto.UpdateResponse(properties=properties.write(done.outputs, request.news))

    @reported
    def Delete(self, request: proto.DeleteRequest, context: Context) -> Empty:
        """Delete a resource."""
        inputs = properties.read(request.old_inputs)
        self._of(request.type).delete(inputs, request.timeout or WAIT_SECONDS)
        return Empty()

    def Cancel(self, request: Empty, context: Context) -> Empty:
        """End what waits: the user has interrupted the update."""
        stopping.set()
        return Empty()

    def _of(self, kind: str) -> Objects | Releases:
        return self._releases if kind == RELEASE else self._objects


@contextmanager
def _kept(like: Struct) -> Iterator[None]:
    try:
        yield
    except PartialError as error:
        error.describe(like)
        raise


def _diff(request: proto.DiffRequest, immutable: tuple[str, ...], *, blocks: bool) -> proto.DiffResponse:
    found = list(properties.changes(properties.read(request.old_inputs), properties.read(request.news)))
    replaces = [each.path for each in found if any(_below(each, path) for path in immutable)]
    names = {each: f"{each.kind}_REPLACE" if each.path in replaces else each.kind for each in found}
    detail = proto.PropertyDiff
    return proto.DiffResponse(
        changes=proto.DiffResponse.DIFF_SOME if found else proto.DiffResponse.DIFF_NONE,
        diffs=sorted({each.path.partition(".")[0] for each in found}),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces) and blocks,
        hasDetailedDiff=True,
        detailedDiff={each.path: detail(kind=detail.Kind.Value(name), inputDiff=True) for each, name in names.items()},
    )


def _below(change: Change, path: str) -> bool:
    return change.path == path or change.path.startswith((f"{path}.", f"{path}["))


def main() -> None:
    """Start the plugin."""

    def register(server: Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)

    serve(register)


if __name__ == "__main__":
    main()
