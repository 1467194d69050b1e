"""Stand-in for `pulumi-resource-kubernetes`: the kinds that this program declares, by server-side apply.

State holds what was declared, never what the server added, so that a refresh
shows drift of our fields and nothing else. Secrets reach this process in plain
and leave it marked; the engine marks every output whose input was secret.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from sandbox.plugins import helm, objects
from sandbox.plugins.cluster import ApiError, Cluster, NoSuchKindError, Object, UnreachableError, wait
from sandbox.plugins.server import serve

RELEASE: Final = "kubernetes:helm.sh/v3:Release"
VERSION: Final = "4.34.2"  # of the SDK whose resources these are
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # the engine's mark of a value not known at preview
SIGNATURE: Final = "4dabf18193072939515e22adb298388d"  # the engine's mark of a special value …
SECRET_MARK: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # … here of a secret
WAIT_SECONDS: Final = 600.0
EXPECTED: Final = (ApiError, UnreachableError, NoSuchKindError, helm.HelmError, ValueError)


def _plain(struct: struct_pb2.Struct) -> Object:
    """Read a message; its numbers are doubles, whole ones become integers again."""

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: whole(each) for key, each in value.items()}
        if isinstance(value, list):
            return [whole(each) for each in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return dict(whole(json_format.MessageToDict(struct)))


def _struct(value: Object) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(value)
    return message


def _manifest(inputs: Object) -> Object:
    return {key: value for key, value in inputs.items() if value is not None}


def _outputs(seen: Object) -> struct_pb2.Struct:
    """Mark what a Secret holds, whether or not the program had."""
    if seen.get("kind") != "Secret":
        return _struct(seen)
    marked: Object = {
        key: {SIGNATURE: SECRET_MARK, "value": seen[key]} for key in ("data", "stringData") if key in seen
    }
    return _struct({**seen, **marked})


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider's gRPC service; method names are the protocol's."""

    def __init__(self) -> None:
        self._options: Object = {}
        self._cluster: Cluster | None = None

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=False)

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema='{"name": "kubernetes"}')

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        old, new = _plain(request.old_inputs), _plain(request.news)
        replaces = ["clusterIdentifier"] if old.get("clusterIdentifier") != new.get("clusterIdentifier") else []
        return _difference(objects.changes(old, new), replaces)

    def Configure(self, request: Any, context: Any) -> Any:
        # The cluster is looked at with the first request: a provider that nothing uses needs none.
        self._options = _plain(request.args)
        return provider_pb2.ConfigureResponse(supportsPreview=True, acceptSecrets=False)

    def Check(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.news)
        named = inputs if request.type == RELEASE else inputs.setdefault("metadata", {})
        if not named.get("name"):
            old = _plain(request.olds)
            kept = old if request.type == RELEASE else old.get("metadata", {})
            named["name"] = kept.get("name") or f"{request.name}-{secrets.token_hex(4)}"
        if request.type != RELEASE and UNKNOWN not in str(inputs):
            with _reported(context):
                cluster = self._connect()
                if "namespace" not in named and cluster.namespaced(inputs):
                    named["namespace"] = cluster.namespace
        return provider_pb2.CheckResponse(inputs=_struct(inputs))

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = _plain(request.old_inputs), _plain(request.news)
        if request.type == RELEASE:
            replaces = [key for key in ("name", "namespace") if old.get(key) != new.get(key)]
        else:
            replaces = objects.replaced(new.get("kind", ""), old, new)
        return _difference(objects.changes(old, new), replaces)

    def Create(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.properties)
        if request.preview:
            return provider_pb2.CreateResponse(properties=_outputs(inputs))
        with _reported(context):
            cluster = self._connect()
            if request.type == RELEASE:
                seen = helm.install(cluster, inputs)
                return provider_pb2.CreateResponse(id="/".join(helm.name_of(inputs)), properties=_struct(seen))
            manifest = _manifest(inputs)
            # A CRD that the step before has just brought is served a moment later.
            wait(lambda: _served(cluster, manifest), 30)
            if cluster.get(manifest) is not None and not self._options.get("upsertExistingObjects"):
                raise ApiError(409, f"{_title(manifest)} exists already and is not this stack's: import or delete it")
            live = cluster.apply(manifest)
            if problem := objects.await_ready(cluster, manifest, request.timeout or WAIT_SECONDS):
                raise ValueError(problem)
            return provider_pb2.CreateResponse(id=_id(manifest), properties=_outputs(objects.live_inputs(live, inputs)))
        raise AssertionError

    def Read(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.inputs)
        with _reported(context):
            cluster = self._connect()
            if request.type == RELEASE:
                seen = helm.read(cluster, inputs)
                if seen is None:
                    return provider_pb2.ReadResponse()
                values = {**inputs, "values": helm.live_values(cluster, inputs)} if "values" in inputs else inputs
                return provider_pb2.ReadResponse(
                    id=request.id, properties=_struct({**seen, **values}), inputs=_struct(values)
                )
            live = cluster.get(_manifest(inputs))
            if live is None:
                return provider_pb2.ReadResponse()
            seen = objects.live_inputs(live, inputs)
            return provider_pb2.ReadResponse(id=request.id, properties=_outputs(seen), inputs=_outputs(seen))
        raise AssertionError

    def Update(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.news)
        with _reported(context):
            cluster = self._connect()
            if request.type == RELEASE:
                seen = inputs if request.preview else helm.install(cluster, inputs)
                return provider_pb2.UpdateResponse(properties=_struct(seen))
            manifest = _manifest(inputs)
            if request.preview and (UNKNOWN in str(inputs) or not _served(cluster, manifest)):
                return provider_pb2.UpdateResponse(properties=_outputs(inputs))
            # Forced: drift of a declared field is ours to repair, whoever made it.
            live = cluster.apply(manifest, dry_run=request.preview, force=True)
            if not request.preview and (
                problem := objects.await_ready(cluster, manifest, request.timeout or WAIT_SECONDS)
            ):
                raise ValueError(problem)
            return provider_pb2.UpdateResponse(properties=_outputs(objects.live_inputs(live, inputs)))
        raise AssertionError

    def Delete(self, request: Any, context: Any) -> Any:
        inputs = _plain(request.old_inputs) or _plain(request.properties)
        with _reported(context):
            cluster = self._connect()
            if request.type == RELEASE:
                helm.uninstall(cluster, inputs)
                return empty_pb2.Empty()
            manifest = _manifest(inputs)
            cluster.delete(manifest)
            if problem := objects.await_gone(cluster, manifest, request.timeout or WAIT_SECONDS):
                raise ValueError(problem)
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def _connect(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._options.get("kubeconfig"), self._options.get("context"))
        return self._cluster


class _reported:  # noqa: N801  # read as a verb: with _reported(context)
    """Ends the call with one plain sentence for every error that a user can meet."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, EXPECTED):
            self._context.abort(grpc.StatusCode.UNKNOWN, str(error))


def _difference(changed: list[str], replaces: list[str]) -> Any:
    kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
    detail = provider_pb2.PropertyDiff
    return provider_pb2.DiffResponse(
        changes=kind,
        diffs=sorted({path.partition(".")[0] for path in changed}),
        replaces=replaces,
        deleteBeforeReplace=bool(replaces),
        hasDetailedDiff=True,
        detailedDiff={path: detail(kind=detail.UPDATE, inputDiff=True) for path in changed}
        | {path: detail(kind=detail.UPDATE_REPLACE, inputDiff=True) for path in replaces},
    )


def _served(cluster: Cluster, manifest: Object) -> bool:
    try:
        return bool(cluster.path_of(manifest))
    except NoSuchKindError:
        return False


def _id(manifest: Object) -> str:
    metadata = manifest["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def _title(manifest: Object) -> str:
    return f"{manifest['kind']} {_id(manifest)}"


def main() -> None:
    """Start the plugin."""
    register: Callable[[grpc.Server], None] = lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(  # noqa: E731
        Provider(), server
    )
    serve(register)


if __name__ == "__main__":
    main()
