"""Runs the stack's program against a recording monitor and returns what it declared."""

import asyncio
import atexit
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pulumi
import pytest
import yaml
from google.protobuf import json_format
from pulumi.runtime import mocks
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS, get_root_resource

import components.program
from components import labels
from components.settings import Settings, SettingsError
from components.settings.load import parse
from workbench.paths import REPOSITORY

PROJECT = "vllm-eval"
STACKS: Final = Path(__file__).parent / "stacks"
_CONFIG: Final = json.loads((REPOSITORY / labels.config_file(None)).read_text())
_ENABLED: Final = sum(task["enabled"] for task in _CONFIG.values())
# As messages count them; a fork enables others.
ENABLED_TASKS: Final = f"{_ENABLED} task{'s' * (_ENABLED != 1)}"
OPERATIONS: Final = (REPOSITORY / "docs/operations.md").read_text(encoding="utf-8")
ADOPT: Final = (REPOSITORY / "docs/adopt.md").read_text(encoding="utf-8")
SECRETS: Final = {
    "git-password": "x",
    "huggingface-token": "x",
    "registry-credentials": '{"auths": {"ghcr.io": {"auth": "eDp4"}}}',
    "endpoint-key": "x",
    "receiver-team": "https://hooks.example.com/x",
}
# How the SDK marks a secret inside a value that goes to the engine.
SIGNATURE = "4dabf18193072939515e22adb298388d"


@dataclass(frozen=True)
class Declared:
    """One resource as the engine would get it."""

    type: str
    name: str
    urn: str
    parent: str
    custom: bool
    inputs: dict[str, Any]
    secrets: tuple[str, ...]
    dependencies: frozenset[str]
    protect: bool
    retain: bool
    delete_before_replace: bool
    provider: str
    hooks: dict[str, list[str]]

    @property
    def kind(self) -> str:
        return self.type.rsplit(":", 1)[-1]

    @property
    def is_kubernetes(self) -> bool:
        return self.type.startswith("kubernetes:")

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inputs.get("metadata") or {
            key: self.inputs[key] for key in ("name", "namespace") if key in self.inputs
        }
        return found

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.kind, str(self.metadata.get("namespace", "")), str(self.metadata["name"])


@dataclass
class Stack:
    """Everything that a stack declares."""

    settings: Settings
    resources: dict[str, Declared]
    outputs: dict[str, Any]
    registered: set[str] = field(default_factory=set)
    hooks: dict[str, pulumi.ResourceHook] = field(default_factory=dict)

    def kubernetes(self) -> list[Declared]:
        return [each for each in self.resources.values() if each.is_kubernetes]

    def one(self, kind: str, name: str | None = None) -> Declared:
        found = [each for each in self.kubernetes() if each.kind == kind and name in {None, each.metadata["name"]}]
        assert len(found) == 1, f"{kind} {name or ''}: {[each.identity for each in found]}"
        return found[0]

    def has(self, kind: str) -> bool:
        return any(each.kind == kind for each in self.kubernetes())

    def needs(self, resource: Declared) -> set[str]:
        """Return the URNs of everything that must exist before `resource`, and outlives it."""
        seen: set[str] = set()
        todo = list(resource.dependencies)
        while todo:
            urn = todo.pop()
            if urn not in seen and urn in self.resources:
                seen.add(urn)
                todo += self.resources[urn].dependencies
        return seen


class _Mocks(mocks.Mocks):
    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "docker:index/image:Image":
            outputs["repoDigest"] = f"{args.inputs['imageName'].rsplit(':', 1)[0]}@sha256:{'b' * 64}"
        return f"{args.name}-id", outputs

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        assert args.token == "docker:index/getRegistryImage:getRegistryImage", args.token
        return {**args.args, "sha256Digest": f"sha256:{'a' * 64}"}, []


class _Callbacks:
    """Takes the place of the server through which the engine calls hooks: mocks have none."""

    def __init__(self) -> None:
        self.hooks: dict[str, pulumi.ResourceHook] = {}

    def register_resource_hook(self, hook: pulumi.ResourceHook) -> None:
        self.hooks[hook.name] = hook


class _RecordingMonitor(mocks.MockMonitor):
    """Keeps the whole request: the mocks' arguments lack options and dependencies (pulumi#14421)."""

    def __init__(self) -> None:
        super().__init__(_Mocks())
        self.declared: dict[str, Declared] = {}
        self.registered: set[str] = set()

    def RegisterResource(self, request: Any) -> object:  # noqa: ANN401, N802 (gRPC's name and message)
        response: Any = super().RegisterResource(request)  # type: ignore[no-untyped-call] # the SDK's
        if request.type != "pulumi:pulumi:Stack":
            raw = json_format.MessageToDict(request.object)
            inputs, secrets = _plain(raw)
            assert response.urn not in self.declared, f"{response.urn} declared twice"
            self.declared[response.urn] = Declared(
                type=request.type,
                name=request.name,
                urn=response.urn,
                parent=request.parent,
                custom=request.custom,
                inputs=inputs,
                secrets=tuple(secrets),
                dependencies=frozenset(request.dependencies),
                protect=request.protect,
                retain=request.retainOnDelete,
                delete_before_replace=request.deleteBeforeReplace,
                provider=request.provider,
                hooks={
                    moment: list(getattr(request.hooks, moment))
                    for moment in ("before_create", "before_update", "before_delete")
                },
            )
        return response

    def RegisterResourceOutputs(self, request: Any) -> object:  # noqa: ANN401, N802 (gRPC's name and message)
        self.registered.add(request.urn)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call] # the SDK's


def _plain(value: object, path: str = "") -> tuple[Any, list[str]]:
    """Return a value with whole numbers as int and secrets unwrapped, and the paths of the secrets."""
    if isinstance(value, dict):
        if SIGNATURE in value and "value" in value:
            return _plain(value["value"], path)[0], [path]
        pairs = {key: _plain(inner, f"{path}.{key}") for key, inner in value.items()}
        return {key: inner for key, (inner, _) in pairs.items()}, [
            each for _, found in pairs.values() for each in found
        ]
    if isinstance(value, list):
        items = [_plain(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
        return [inner for inner, _ in items], [each for _, found in items for each in found]
    return int(value) if isinstance(value, float) and value.is_integer() else value, []


def stack_file(stack: str) -> dict[str, Any]:
    """Return the groups of a stack file, by their bare keys."""
    return groups_of(stack_path(stack).read_text())


def stack_path(stack: str) -> Path:
    """Return the sandbox's stack file, or the tests' own copy of another one: a fork writes its models into those."""
    return (REPOSITORY if stack == "local" else STACKS) / f"Pulumi.{stack}.yaml"


def groups_of(file: str) -> dict[str, Any]:
    """Return the groups of a stack file's text, by their bare keys."""
    return {key.removeprefix(f"{PROJECT}:"): value for key, value in yaml.safe_load(file)["config"].items()}


def documented() -> dict[str, Any]:
    """Return the groups of the stack file that `docs/operations.md` begins with."""
    return groups_of(OPERATIONS.partition("```yaml\n")[2].partition("```")[0])


def load(groups: Mapping[str, Any], secrets: Mapping[str, str] | None = None, stack: str = "test") -> Settings:
    """Return the settings, read as Pulumi would hand them over: groups as JSON texts."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in groups.items()}
    texts |= secrets or {}
    full = {f"{PROJECT}:{key}": text for key, text in texts.items()}
    pulumi.runtime.set_all_config(full, [f"{PROJECT}:{key}" for key in secrets or {}])
    with event_loop():
        return parse(stack, pulumi.Config(PROJECT), {key: key in (secrets or {}) for key in texts})


def refused(groups: Mapping[str, Any], secrets: Mapping[str, str] | None = None) -> str:
    """Return what is said of settings that are not valid."""
    with pytest.raises(SettingsError) as caught:
        load(groups, secrets)
    return str(caught.value)


_LOOP: Final = asyncio.new_event_loop()
atexit.register(_LOOP.close)


@contextlib.contextmanager
def event_loop() -> Iterator[None]:
    """Give the SDK the current loop that it asks for: an asyncio.run in a test before leaves none.

    Always the same one: a loop that is collected warns of its open sockets in whatever test runs then.
    """
    asyncio.set_event_loop(_LOOP)
    try:
        yield
    finally:
        # The SDK wraps each secret in a task; one that is still pending would fail whichever test runs when it is
        # collected.
        _LOOP.run_until_complete(asyncio.gather(*asyncio.all_tasks(_LOOP)))


def declare(settings: Settings) -> Stack:
    """Run the program for these settings."""
    asyncio.set_event_loop(_LOOP)
    monitor = _RecordingMonitor()
    pulumi.runtime.set_mocks(_Mocks(), project=PROJECT, stack=settings.stack, preview=False, monitor=monitor)
    root = get_root_resource()
    assert isinstance(root, pulumi.runtime.stack.Stack)
    root.outputs.clear()  # mocks keep the root of the run before
    callbacks = _Callbacks()
    SETTINGS.callbacks = callbacks

    # The SDK tells the engine where each resource was declared, frame by frame: below pytest a third of the time.
    with mock.patch("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace):
        pulumi.runtime.test(lambda: components.program.declare(settings))()  # type: ignore[no-untyped-call] # the SDK's
    return Stack(settings, monitor.declared, dict(root.outputs), monitor.registered, callbacks.hooks)


def run(groups: Mapping[str, Any], secrets: Mapping[str, str] | None = None, stack: str = "test") -> Stack:
    """Load and declare."""
    settings = load(groups, secrets, stack)
    return declare(settings)


def with_every_secret(stack: str, monitoring: Mapping[str, Any] | None = None) -> Stack:
    """Run a committed stack with everything beside it that takes a secret or is off by default."""
    groups = stack_file(stack)
    groups["models"][0]["api_key"] = "key"
    hub = {"network": {"cidr": "0.0.0.0/0", "port": 443}}
    groups["evaluation"] = {**groups.get("evaluation", {}), "data": {"hub": hub}, "report": {"service": True}}
    groups["evaluation"].setdefault("results", {})["access_mode"] = "ReadWriteMany"
    groups["monitoring"] = {**groups.get("monitoring", {}), "receivers": [{"name": "team", "kind": "slack"}]}
    groups["monitoring"] |= monitoring or {}
    return run(groups, SECRETS, stack=stack)
