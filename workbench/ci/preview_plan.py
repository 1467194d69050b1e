"""What a `pulumi preview --json` would change in a stack, and what of it destroys something."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import labels

APPLICATION_TYPE: Final = "kubernetes:argoproj.io/v1alpha1:Application"
JOB_TYPE: Final = "kubernetes:batch/v1:Job"
JOB: Final = labels.EVALUATION

# A replacement is up to three steps of one object; the word that says most is kept.
PRECEDENCE: Final = ("replace", "create-replacement", "delete-replaced", "delete", "create", "update", "import")
SYMBOLS: Final = {"create": "+", "update": "~", "replace": "+-", "delete": "-", "import": "="}
REPLACING: Final = frozenset({"create-replacement", "delete-replaced"})
UNCHANGED: Final = frozenset({"same", "read", "refresh"})


class RecordError(Exception):
    """A file is not what `pulumi_stack.py preview` writes."""


@dataclass(frozen=True)
class Change:
    """One object that an update would change.

    Attributes
    ----------
    operation
        `create`, `update`, `replace`, `delete` or `import`.
    type, name
        Pulumi's type token; the object's name in the cluster, or Pulumi's where it has none.
    paths
        Properties that differ, without their values.
    reasons
        Properties that force a replacement.
    rerun
        Whether this is the evaluation Job: replacing it is what a re-run is.
    kept
        Whether nothing in the cluster is deleted with it: a component, or an object with `retain_on_delete`.
    """

    operation: str
    type: str
    name: str
    paths: tuple[str, ...]
    reasons: tuple[str, ...]
    rerun: bool
    kept: bool

    @property
    def destroys(self) -> bool:
        """Whether it loses something that a new evaluation does not replace anyway."""
        return self.operation in {"replace", "delete"} and not self.rerun and not self.kept

    @property
    def symbol(self) -> str:
        """Pulumi's sign for the operation."""
        return SYMBOLS.get(self.operation, "?")


@dataclass(frozen=True)
class Objects:
    """An object of the cluster before and after an update; None where it does not exist."""

    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True)
class PreviewPlan:
    """What a preview of one stack said.

    Attributes
    ----------
    stack
        Name of the stack.
    errors
        Why the preview failed; empty when it did not.
    changes
        Objects that would change, in the preview's order.
    unchanged
        How many would not.
    application, job
        Argo CD's Application, and the Job where Pulumi owns it.
    """

    stack: str
    errors: tuple[str, ...]
    changes: tuple[Change, ...]
    unchanged: int
    application: Objects
    job: Objects

    @property
    def destroyed(self) -> tuple[Change, ...]:
        """The changes that need the label."""
        return tuple(change for change in self.changes if change.destroys)


def load(path: Path) -> PreviewPlan:
    """Read a record that `pulumi_stack.py preview` wrote.

    Raises
    ------
    RecordError
        The file is missing or something else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return parse(record)
    except FileNotFoundError:
        raise RecordError(f"{path} is missing: the preview's job ended before it could write it") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not a record of a preview: {error!r}") from error


def parse(record: dict[str, Any]) -> PreviewPlan:
    """Return the plan in a record; see :func:`load`."""
    digest = record["plan"] or {}
    steps: dict[str, list[dict[str, Any]]] = {}
    for step in digest.get("steps", []):
        steps.setdefault(step["urn"], []).append(step)
    changes = [_change(urn, group) for urn, group in steps.items() if not _operations(group) <= UNCHANGED]
    return PreviewPlan(
        stack=record["stack"],
        errors=_errors(record, digest),
        changes=tuple(changes),
        unchanged=sum(_operations(group) <= UNCHANGED for group in steps.values()),
        # Found by type, of which a stack has one: the Application's name is a setting.
        application=_objects(steps, APPLICATION_TYPE),
        job=_objects(steps, JOB_TYPE),
    )


def _errors(record: dict[str, Any], digest: dict[str, Any]) -> tuple[str, ...]:
    said = [(str(entry["severity"]), str(entry["message"]).strip()) for entry in digest.get("diagnostics", [])]
    errors: list[str] = []
    for severity, message in said:
        # Pulumi tells a program's error twice, the second time in a frame.
        if severity == "error" and not any(known.removeprefix("error: ") in message for known in errors):
            errors.append(message)
    if record["exit_code"] == 0 or errors:
        return tuple(errors)
    # What the program wrote on its standard error is the reason only when the preview failed.
    notes = tuple(message for severity, message in said if severity == "info#err")
    return notes or (str(record["log"]).strip() or f"pulumi ended with {record['exit_code']}",)


def _operations(group: list[dict[str, Any]]) -> frozenset[str]:
    return frozenset(str(step["op"]) for step in group)


def _change(urn: str, group: list[dict[str, Any]]) -> Change:
    operations = _operations(group)
    known = [operation for operation in PRECEDENCE if operation in operations]
    # An operation that is not in the list is shown under its own name rather than hidden.
    operation = known[0] if known else sorted(operations - UNCHANGED)[0]
    type_token = urn.split("::")[2].split("$")[-1]
    name = _name(group) or urn.rpartition("::")[2]
    reasons = {reason for step in group for reason in step.get("replaceReasons") or []}
    paths = {path for step in group for path in step.get("detailedDiff") or step.get("diffReasons") or []}
    return Change(
        operation="replace" if operation in REPLACING else operation,
        type=type_token,
        name=name,
        paths=tuple(sorted(paths)),
        reasons=tuple(sorted(reasons)),
        rerun=(type_token, name) == (JOB_TYPE, JOB),
        kept=_kept(group),
    )


def _kept(group: list[dict[str, Any]]) -> bool:
    olds = [step["oldState"] for step in group if step.get("oldState")]
    return bool(olds) and all(not old.get("custom") or old.get("retainOnDelete", False) for old in olds)


def _name(group: list[dict[str, Any]]) -> str:
    for step in group:
        for state in ("newState", "oldState"):
            metadata = ((step.get(state) or {}).get("inputs") or {}).get("metadata")
            # A preview has no metadata where it is an output of something that does not exist yet.
            if isinstance(metadata, dict) and metadata.get("name"):
                return str(metadata["name"])
    return ""


def _objects(steps: dict[str, list[dict[str, Any]]], type_token: str) -> Objects:
    for urn, group in steps.items():
        if urn.split("::")[2].split("$")[-1] != type_token:
            continue
        before = next((_inputs(step, "oldState") for step in group if step.get("oldState")), None)
        after = next((_inputs(step, "newState") for step in group if step.get("newState")), None)
        return Objects(before, after)
    return Objects(None, None)


def _inputs(step: dict[str, Any], state: str) -> dict[str, Any]:
    # `__inputs` is the Kubernetes provider's own note in the outputs; it has no place in an object.
    inputs = step[state].get("inputs") or {}
    return {key: value for key, value in inputs.items() if not key.startswith("__")}
