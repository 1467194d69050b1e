"""Previews as `workbench/ci/pulumi_stack.py` writes them, made of what the program declares before and after.

The engine is not asked; tests/integration/ci/test_live_preview.py shows that its records have this form.
"""

import copy
import functools
import json
from collections.abc import Callable
from typing import Any, Final

from components.settings import SettingsError
from tests.support import program
from tests.support.program import PROJECT, Declared

Groups = dict[str, Any]
Record = dict[str, Any]

# Of these the provider makes another object where such a field differs.
REPLACED: Final = ("Job", "PersistentVolumeClaim")
NEW_MODEL: Final = {
    "name": "new/model",
    "tag": "n1",
    "endpoint": "http://n.serving.svc.cluster.local:8000/v1",
    "network": {"namespace": "serving", "port": 8000},
}


def _another_tag_and_a_larger_claim(groups: Groups) -> None:
    groups["models"][0]["tag"] = "other"
    groups["evaluation"]["results"]["size"] = "2Gi"


def _a_third_model(groups: Groups) -> None:
    groups["models"].insert(0, NEW_MODEL)


def _no_monitoring(groups: Groups) -> None:
    groups["monitoring"] = {"enabled": False}


CHANGES: Final[dict[str, Callable[[Groups], None]]] = {
    "same": lambda _: None,
    "replace": _another_tag_and_a_larger_claim,
    "models": _a_third_model,
    "delete": _no_monitoring,
}


def preview(name: str, follows: str) -> Record:
    """Return the record of a preview such as ``prod-models``: the stack's name, and what changes in its settings.

    Parameters
    ----------
    name
        ``dev-first`` deploys, ``dev-failed`` has a wrong setting; the others are in `CHANGES`.
    follows
        The revision that the stack's Application follows.
    """
    stack, change = name.split("-")
    before = program.stack_file(stack)
    before["git"]["revision"] = follows
    if change == "failed":
        return _failed(stack, {**before, "evaluation": {"owner": "helm"}})
    after = copy.deepcopy(before)
    CHANGES.get(change, CHANGES["same"])(after)
    old = {} if change == "first" else _declared(stack, json.dumps(before))
    new = _declared(stack, json.dumps(after))
    urn = f"urn:pulumi:{stack}::{PROJECT}::pulumi:pulumi:Stack::{PROJECT}-{stack}"
    steps = [{"op": "same" if old else "create", "urn": urn, "newState": {"urn": urn, "custom": False}}]
    steps += [_step(old.get(urn), new.get(urn)) for urn in [*new, *(each for each in old if each not in new)]]
    return {"stack": stack, "exit_code": 0, "plan": {"steps": steps, "diagnostics": []}, "log": ""}


@functools.cache
def _declared(stack: str, groups: str) -> dict[str, Declared]:
    return program.run(json.loads(groups), stack=stack).resources


def _step(old: Declared | None, new: Declared | None) -> dict[str, Any]:
    """Return what the engine says of one object."""
    known = new or old
    assert known is not None
    step: dict[str, Any] = {"op": "create" if old is None else "delete", "urn": known.urn}
    if old and new:
        paths = _differences(old.inputs, new.inputs)
        replaced = bool(paths) and new.kind in REPLACED
        step["op"] = "replace" if replaced else "update" if paths else "same"
        step |= {"detailedDiff": {path: {"kind": "update"} for path in paths}, "replaceReasons": paths * replaced}
    for state, each in (("oldState", old), ("newState", new)):
        if each is not None:
            kept = {"retainOnDelete": True} if each.retain else {}
            step[state] = {"urn": each.urn, "custom": each.custom, "type": each.type, "inputs": each.inputs, **kept}
    return step


def _differences(old: object, new: object, path: str = "") -> list[str]:
    """Return the paths that differ; a list is one place."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return [] if old == new else [path.removeprefix(".")]
    keys = [*old, *(key for key in new if key not in old)]
    return [found for key in keys for found in _differences(old.get(key), new.get(key), f"{path}.{key}")]


def _failed(stack: str, groups: Groups) -> Record:
    try:
        program.load(groups, stack=stack)
    except SettingsError as error:
        said = f"python inline source runtime error: {error}\n"
        # Pulumi tells a program's error twice, the second time in a frame.
        messages = [f"error: {said}", f"error: an unhandled error occurred: {said}"]
        diagnostics = [{"message": each, "severity": "error"} for each in messages]
        return {"stack": stack, "exit_code": 1, "plan": {"steps": [], "diagnostics": diagnostics}, "log": ""}
    raise AssertionError("these settings are accepted")
