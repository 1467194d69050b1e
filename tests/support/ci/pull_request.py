"""A pull request with records of previews, and the comment script run on it as the workflow runs it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from tests.support.ci import previews
from tests.support.ci.git_world import World
from tests.support.ci.github_server import NUMBER, TOKEN, GitHubServer
from tests.support.ci.github_server import REPOSITORY as GITHUB_REPOSITORY
from workbench.paths import REPOSITORY

SCRIPTS: Final = REPOSITORY / "workbench" / "ci"
MARKER: Final = "<!-- vllm-eval preview -->"
CONFIG: Final = "eval/evalchemy/configs/eval_config.json"
JOB: Final = "k8s/evalchemy-job.yaml"
MANIFESTS: Final = {
    # As CI has written it back.
    str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8").replace(
        "git-commit: unknown", "git-commit: c0ffee"
    )
    for path in sorted((REPOSITORY / "k8s").glob("*.yaml"))
}
TASKS: Final = json.dumps({"one": {"enabled": True}, "two": {"enabled": True}, "three": {"enabled": False}})


@dataclass
class PullRequest:
    """A pull request from `topic` to `main`, its records, and the script run on them."""

    world: World
    server: GitHubServer
    labels: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clone = self.world.clone()
        self.base = self.world.change(self.clone, {**MANIFESTS, CONFIG: TASKS}, "Base")
        self.world.git(self.clone, "push", "--quiet", "origin", "HEAD:refs/heads/release")
        self.world.git(self.clone, "fetch", "--quiet", "origin")
        self.head = self.base
        self.records = self.world.folder / "records"
        self.records.mkdir()

    def change(self, files: dict[str, str]) -> None:
        """Add a commit to the pull request."""
        self.head = self.world.change(self.clone, files, "Topic", push=False)

    def record(self, stack: str, name: str, *, follows: str = "release") -> None:
        """Write a preview (`previews.preview`) as that of a stack whose Application follows a revision."""
        record = {**previews.preview(name, follows), "stack": stack}
        (self.records / f"{stack}.json").write_text(json.dumps(record), encoding="utf-8")

    def edit(self, stack: str, edit: Callable[[dict[str, Any]], None]) -> None:
        """Change a record's plan by a function."""
        path = self.records / f"{stack}.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        edit(record)
        path.write_text(json.dumps(record), encoding="utf-8")

    def previewed(
        self, name: str, edit: Callable[[dict[str, Any]], None] | None = None, *, follows: str = "release"
    ) -> subprocess.CompletedProcess[str]:
        """Run the script on one preview, with its plan changed by a function."""
        stack = name.partition("-")[0]
        self.record(stack, name, follows=follows)
        if edit is not None:
            self.edit(stack, edit)
        return self.run(stack)

    def run(self, *stacks: str, extra: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the script as the workflow does."""
        event = {
            "pull_request": {
                "number": NUMBER,
                "labels": [{"name": label} for label in self.labels],
                "base": {"ref": "main", "sha": self.base},
                "head": {"sha": "0" * 40},
            }
        }
        file = self.world.folder / "event.json"
        file.write_text(json.dumps(event), encoding="utf-8")
        env = {
            **self.world.environment,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_STEP_SUMMARY": str(self.world.folder / "summary"),
            "GITHUB_API_URL": self.server.url,
            "GITHUB_REPOSITORY": GITHUB_REPOSITORY,
            "GITHUB_TOKEN": TOKEN,
        }
        command = [
            *(sys.executable, "-W", "error", "-m", "workbench.ci.preview_comment", "--stacks", json.dumps(stacks)),
            *("--records", str(self.records), "--repository", str(self.clone), "--head", self.head, *extra),
        ]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    @property
    def comment(self) -> str:
        """The one comment that the script has written."""
        written = [str(each["body"]) for each in self.server.comments if str(each["body"]).startswith(MARKER)]
        assert len(written) == 1
        return written[0]
