"""What Argo CD would sync before and after a pull request, and which evaluations that starts."""

import difflib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from components import labels, reruns
from vllm_eval.config import load_config
from vllm_eval.errors import ConfigError
from workbench.ci.preview_plan import JOB, Objects, PreviewPlan
from workbench.paths import IMAGE_SOURCES

KUSTOMIZE_KEYS: Final = frozenset({"namespace", "patches"})


class PreviewError(Exception):
    """The manifests of one side cannot be rendered; the text says which and why."""


@dataclass(frozen=True)
class PullRequest:
    """A pull request in a clone with full history.

    Attributes
    ----------
    repository
        The clone.
    base_branch
        Name of the branch that it would be merged into.
    base, head
        Commits: that branch, and what it would be after the merge.
    """

    repository: Path
    base_branch: str
    base: str
    head: str

    def changed_sources(self) -> list[str]:
        """Return the paths that the pull request changes among those that the image is built from."""
        paths = ("--", *IMAGE_SOURCES)
        return self._git("diff", "--name-only", f"{self.base}...{self.head}", *paths).decode().splitlines()

    def revision(self, followed: str, *, after: bool) -> str:
        """Return the commit that an Application which follows `followed` syncs, before or after the merge.

        Raises
        ------
        PreviewError
            There is no such branch, tag or commit.
        """
        if followed in {self.base_branch, "HEAD"}:
            return self.head if after else self.base
        # A branch or tag that is moved on purpose: the merge alone does not move it.
        for name in (f"refs/remotes/origin/{followed}", f"refs/tags/{followed}", followed):
            found = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if found.returncode == 0:
                return found.stdout.decode().strip()
        raise PreviewError(
            f"the Application follows {followed!r}, which is no branch, tag or commit of this repository"
        )

    def tree(self, commit: str, folder: Path) -> Path:
        """Extract the manifests and the configurations of a commit into a folder and return it."""
        packed = self._git("archive", "--format=tar", commit, "--", labels.MANIFESTS, labels.CONFIGS)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        return folder

    def _git(self, *words: str) -> bytes:
        done = self._run(*words)
        if done.returncode != 0:
            raise PreviewError(f"git {' '.join(words)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["git", "-C", str(self.repository), *words], capture_output=True, check=False)


@dataclass(frozen=True)
class Rendered:
    """What the merge and the update that follows it change in one environment.

    Attributes
    ----------
    diff
        Unified diff of what Argo CD syncs; empty when nothing changes.
    effect
        Sentences that say which evaluations start.
    """

    diff: str
    effect: str


@dataclass(frozen=True)
class _Side:
    text: str = ""
    job: dict[str, Any] | None = None
    tasks: tuple[str, ...] = ()
    followed: str = ""


def render(plan: PreviewPlan, pull_request: PullRequest) -> Rendered:
    """Return the rendered difference of one environment.

    Raises
    ------
    PreviewError
        kustomize, or Git, refuses one of the sides.
    """
    before = _side(plan.application.before, pull_request, after=False)
    after = _side(plan.application.after, pull_request, after=True)
    diff = "".join(
        difflib.unified_diff(
            before.text.splitlines(keepends=True), after.text.splitlines(keepends=True), "before", "after"
        )
    )
    job = Objects(before.job, after.job)
    if plan.job != Objects(None, None):
        # Pulumi owns the Job: it reads it from the checkout, and Argo CD does not emit it.
        job = Objects(_spec_only(plan.job.before), _spec_only(plan.job.after))
    elif after.followed not in {"", "HEAD", pull_request.base_branch}:
        effect = f"{describe(job, after.tasks)} It follows `{after.followed}`, which the merge does not move."
        return Rendered(diff, effect)
    effect = describe(job, after.tasks)
    changed = pull_request.changed_sources()
    if changed and job.after is not None:
        named = f"`{changed[0]}`{' and others' if len(changed) > 1 else ''}"
        effect += (
            f" After the merge CI builds a new image ({named} changed)"
            f" and writes it back: **that re-runs {reruns.everything(job.after).times(len(after.tasks))}**."
        )
    return Rendered(diff, effect)


def _side(application: dict[str, Any] | None, pull_request: PullRequest, *, after: bool) -> _Side:
    if application is None:
        return _Side()
    source = _source(application)
    followed = str(source.get("targetRevision") or "HEAD")
    with tempfile.TemporaryDirectory() as scratch:
        tree = pull_request.tree(pull_request.revision(followed, after=after), Path(scratch))
        text = build(tree / labels.MANIFESTS, source.get("kustomize") or {})
        return _Side(text, _job(text), enabled_tasks(tree / labels.CONFIGS / _config(source)), followed)


def build(folder: Path, kustomize: dict[str, Any]) -> str:
    """Return what `kustomize build` makes of a folder with an Application's own settings, as Argo CD adds them.

    Raises
    ------
    PreviewError
        kustomize refuses it, or the Application sets something that this does not know.
    """
    unknown = sorted(set(kustomize) - KUSTOMIZE_KEYS)
    if unknown:
        raise PreviewError(f"the Application sets source.kustomize.{unknown[0]}, which the preview cannot render")
    file = folder / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text(encoding="utf-8"))
    # In the folder's own file, as Argo CD does it: in an overlay, the patches would come after the replacements.
    kustomization["patches"] = [*kustomization.get("patches", []), *kustomize.get("patches", [])]
    if kustomize.get("namespace"):
        kustomization["namespace"] = kustomize["namespace"]
    file.write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    done = subprocess.run(["kustomize", "build", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PreviewError(f"kustomize refuses {labels.MANIFESTS}: {done.stderr.strip()}")
    return done.stdout


def describe(job: Objects, tasks: Sequence[str]) -> str:
    """Say which evaluations a change of the Job starts."""
    if job.before == job.after:
        return "This re-runs nothing."
    if job.after is None:
        return "This removes the evaluation Job and re-runs nothing."
    rerun = reruns.of(job.before, job.after, tasks)
    if job.before is None:
        return f"**This runs {rerun.times(len(tasks))}** for the first time."
    if not rerun.models:
        return "This re-creates the Job, which has no new model to evaluate."
    if rerun.models < rerun.listed:
        return f"**This re-runs {rerun.times(len(tasks))}**: only what is new or changed of {rerun.listed} models."
    return f"**This re-runs {rerun.times(len(tasks))}**."


def enabled_tasks(path: Path) -> tuple[str, ...]:
    """Return the tasks and groups that are enabled; none when the file is not valid, which the runner reports."""
    try:
        return tuple(load_config(path))
    except ConfigError:
        return ()


def _config(source: dict[str, Any]) -> str:
    """Return the file of tasks that an Application's patches name, below the folder of configurations."""
    patched = [yaml.safe_load(each["patch"]) for each in (source.get("kustomize") or {}).get("patches", [])]
    named = [reruns.config_of(each) for each in patched if _has_pod(each)]
    return next((name for name in named if name != reruns.DEFAULT_CONFIG), reruns.DEFAULT_CONFIG)


def _has_pod(patch: Any) -> bool:  # noqa: ANN401 (YAML is any of its types)
    job = patch if isinstance(patch, dict) and patch.get("kind") == "Job" else {}
    return bool(job.get("spec", {}).get("template", {}).get("spec", {}).get("containers"))


def _source(application: dict[str, Any]) -> dict[str, Any]:
    spec = application.get("spec")
    source = spec.get("source") if isinstance(spec, dict) else None
    if not isinstance(source, dict):
        raise PreviewError("the Application's source is not known before the update")
    return source


def _job(text: str) -> dict[str, Any] | None:
    documents = [document for document in yaml.safe_load_all(text) if document]
    found = [each for each in documents if each["kind"] == "Job" and each["metadata"]["name"] == JOB]
    return found[0] if found else None


def _spec_only(job: dict[str, Any] | None) -> dict[str, Any] | None:
    # Pulumi changes a label in place; only another spec makes it replace the Job.
    return None if job is None else {"spec": job.get("spec")}
