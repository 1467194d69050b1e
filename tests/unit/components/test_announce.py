"""What a preview says of an evaluation, and which change of owner it refuses."""

import copy
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import announce, patches
from tests.support import program
from tests.support.program import ENABLED_TASKS

DIRECT = [("argocd", "pulumi"), ("pulumi", "argocd")]
STEPS = [(None, "argocd"), (None, "pulumi"), ("argocd", "none"), ("none", "pulumi"), ("pulumi", "none")]
STEPS += [("none", "argocd"), ("argocd", "argocd"), ("pulumi", "pulumi"), ("none", "none")]


def said(monkeypatch: pytest.MonkeyPatch, hook: pulumi.ResourceHook, old: Any, new: Any) -> list[str]:  # noqa: ANN401
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    hook(pulumi.ResourceHookArgs("urn", "id", "name", "type", old_inputs=old, new_inputs=new))
    return lines


@pytest.mark.parametrize(("old", "new"), DIRECT)
def test_the_direct_way_is_refused_with_the_steps(old: str, new: str) -> None:
    with pytest.raises(announce.OwnerChangeError) as caught:
        announce.check_owner(old, new)
    told = str(caught.value)
    assert told.startswith(f"evaluation.owner cannot change from {old} to {new} in one update")
    assert "`pulumi config set --path 'vllm-eval:evaluation.owner' none` and `pulumi up` first" in told


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_every_other_way_is_free(old: str | None, new: str) -> None:
    announce.check_owner(old, new)


def test_the_application_carries_the_owner_and_its_hooks_run_in_previews() -> None:
    for name in ("dev", "prod"):
        stack = program.run(program.stack_file(name), stack=name)
        application = stack.one("Application")
        assert application.metadata["annotations"]["vllm-eval/owner"] == stack.settings.evaluation.owner.value
        assert application.hooks == {
            "before_create": ["vllm-eval-application"],
            "before_update": ["vllm-eval-application"],
            "before_delete": [],
        }
        options = stack.hooks["vllm-eval-application"].opts
        assert options is not None
        assert options.on_dry_run
        assert not options.ignore_errors


def application(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (a setting of any kind)
    groups = copy.deepcopy(program.stack_file("prod"))
    for path, value in changes.items():
        groups[path] = {**groups.get(path, {}), **value} if isinstance(value, dict) else value
    return program.run(groups, stack="prod").one("Application").inputs


@pytest.fixture
def written_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which CI has recorded a commit in the Job."""
    recorded(tmp_path, monkeypatch, "c" * 40)


@pytest.fixture
def never_written_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which CI has recorded nothing yet, as in this one before its first image."""
    recorded(tmp_path, monkeypatch, "unknown")


def recorded(folder: Path, monkeypatch: pytest.MonkeyPatch, commit: str) -> None:
    manifest, times = re.subn(r"(?m)^( *git-commit: )\S+", rf"\g<1>{commit}", patches.MANIFEST.read_text())
    assert times == 1
    (folder / "job.yaml").write_text(manifest)
    monkeypatch.setattr(patches, "MANIFEST", folder / "job.yaml")


@pytest.mark.usefixtures("written_back")
def test_the_line_says_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = program.run(program.stack_file("prod"), stack="prod").hooks["vllm-eval-application"]
    old = application()
    models = program.stack_file("prod")["models"]
    third = {**models[0], "name": "third", "tag": "third"}

    def line(new: dict[str, Any], before: dict[str, Any] | None = old) -> list[str]:
        return said(monkeypatch, hook, before, new)

    everything = [f"This re-runs the evaluation: 2 models x {ENABLED_TASKS}."]
    nothing_new = ["This starts the evaluation again, which finds no model new or changed."]
    assert line(old, None) == everything
    assert line(old) == []
    assert line(application(evaluation={"limit": 3})) == everything
    assert line(application(evaluation={"namespace": "other"})) == everything
    assert line(application(evaluation={"schedule": "0 1 * * *"})) == []
    assert line(application(models=[*models, third])) == [f"This re-runs the evaluation: 1 model x {ENABLED_TASKS}."]
    assert line(application(models=models[:1])) == nothing_new
    assert line(application(models=[{**models[0], "concurrency": 1}, models[1]])) == nothing_new
    assert line(application(models=[{**models[0], "baseline": {"run": "r"}}, models[1]])) == nothing_new
    several = {"parallelism": 2, "results": {"access_mode": "ReadWriteMany"}}
    assert line(application(evaluation=several)) == everything
    assert line(application(git={"revision": "v2"})) == [
        f"This re-runs the evaluation if the Job differs there: 2 models x {ENABLED_TASKS}."
    ]
    assert line(application(evaluation={"owner": "none"})) == []
    assert line(old, application(evaluation={"owner": "none"})) == everything
    with pytest.raises(announce.OwnerChangeError):
        line(application(evaluation={"owner": "pulumi"}))


@pytest.mark.usefixtures("written_back")
def test_every_creation_of_pulumis_job_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = copy.deepcopy(program.stack_file("dev"))
    stack = program.run(groups, stack="dev")
    assert stack.one("Job").hooks["before_create"] == ["vllm-eval-job"]
    new = stack.one("Job").inputs
    everything = [f"This re-runs the evaluation: 1 model x {ENABLED_TASKS}."]
    assert said(monkeypatch, stack.hooks["vllm-eval-job"], None, new) == everything

    # The engine tells the Job's hook nothing of the old Job; the Application's hook comes first and knows its patches.
    application = stack.one("Application").inputs
    groups["models"][0]["concurrency"] = 3
    changed = program.run(groups, stack="dev")
    said(monkeypatch, changed.hooks["vllm-eval-application"], application, changed.one("Application").inputs)
    assert said(monkeypatch, changed.hooks["vllm-eval-job"], None, changed.one("Job").inputs) == [
        "This starts the evaluation again, which finds no model new or changed."
    ]


@pytest.mark.usefixtures("never_written_back")
def test_before_the_first_write_back_every_change_re_runs_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = program.run(program.stack_file("prod"), stack="prod").hooks["vllm-eval-application"]
    models = program.stack_file("prod")["models"]
    new = application(models=[{**models[0], "concurrency": 1}, models[1]])
    assert said(monkeypatch, hook, application(), new) == [f"This re-runs the evaluation: 2 models x {ENABLED_TASKS}."]
