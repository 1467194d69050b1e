"""What a preview says of an evaluation, and which change of owner it refuses."""

from typing import Any

import pulumi
import pytest

from components import reruns
from tests.components import program

DIRECT = [("argocd", "pulumi"), ("pulumi", "argocd")]
STEPS = [(None, "argocd"), (None, "pulumi"), ("argocd", "none"), ("none", "pulumi"), ("pulumi", "none")]
STEPS += [("none", "argocd"), ("argocd", "argocd"), ("pulumi", "pulumi"), ("none", "none")]


def inputs(owner: str, source: str = "a") -> dict[str, Any]:
    return {"metadata": {"annotations": {"vllm-eval/owner": owner}}, "spec": {"source": {"patches": source}}}


def said(monkeypatch: pytest.MonkeyPatch, hook: pulumi.ResourceHook, old: Any, new: Any) -> list[str]:  # noqa: ANN401
    lines: list[str] = []
    monkeypatch.setattr(pulumi.log, "info", lines.append)
    hook(pulumi.ResourceHookArgs("urn", "id", "name", "type", old_inputs=old, new_inputs=new))
    return lines


@pytest.mark.parametrize(("old", "new"), DIRECT)
def test_the_direct_way_is_refused_with_the_steps(old: str, new: str) -> None:
    with pytest.raises(reruns.OwnerChangeError) as caught:
        reruns.check_owner(old, new)
    assert str(caught.value) == (
        f"evaluation.owner cannot change from {old} to {new} in one update: the old owner's late delete would take the"
        " Job that the new one has just made. Run `pulumi config set --path 'vllm-eval:evaluation.owner' none` and"
        f" `pulumi up` first, wait until the Job is gone, then set {new}."
    )


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_every_other_way_is_free(old: str | None, new: str) -> None:
    reruns.check_owner(old, new)


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


def test_only_a_new_source_re_runs_argocds_job(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = program.run(program.stack_file("prod"), stack="prod").hooks["vllm-eval-application"]
    line = "This re-runs the evaluation: 2 models x 2 tasks."
    assert said(monkeypatch, hook, inputs("argocd"), inputs("argocd", "b")) == [line]
    assert said(monkeypatch, hook, None, inputs("argocd")) == [line]
    assert said(monkeypatch, hook, inputs("argocd"), inputs("argocd")) == []
    assert said(monkeypatch, hook, inputs("none"), inputs("none", "b")) == []
    with pytest.raises(reruns.OwnerChangeError):
        said(monkeypatch, hook, inputs("argocd"), inputs("pulumi"))


def test_every_creation_of_pulumis_job_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = program.run(program.stack_file("dev"), stack="dev")
    assert stack.one("Job").hooks["before_create"] == ["vllm-eval-job"]
    line = "This re-runs the evaluation: 1 model x 2 tasks."
    assert said(monkeypatch, stack.hooks["vllm-eval-job"], None, {}) == [line]
