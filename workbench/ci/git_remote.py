"""One branch of a Git remote: read a file at its tip, commit a new version of it, push that.

Commits are made with Git's plumbing and a temporary index, so the checkout's
work tree, index, hooks and local branches are neither used nor changed: it may
be a developer's own clone. A killed run leaves one ref `refs/write-back/…`, a
temporary folder and unused objects; all of them are harmless.
"""

import base64
import os
import re
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

# What servers and clients say when somebody else has moved the branch since the fetch.
RACE: Final = re.compile(
    r"fetch first|non-fast-forward|stale info|cannot lock ref|failed to update ref|incorrect old value", re.IGNORECASE
)
DENIED: Final = re.compile(
    r"\b40[13]\b|denied|authentication failed|could not read (username|password)|not authorized", re.IGNORECASE
)


class GitError(Exception):
    """A Git command failed in a way that trying again will not heal."""


class TransportError(GitError):
    """The remote could not be reached; trying again may help."""


class PushRacedError(GitError):
    """Somebody else pushed first."""


class PushRefusedError(GitError):
    """The remote does not let this pusher write to the branch."""


class _Result(NamedTuple):
    code: int
    stdout: str
    stderr: str


@dataclass
class RemoteBranch:
    """A branch of a remote, seen from a clone of it.

    Parameters
    ----------
    repository
        A clone (a work tree or a bare repository).
    remote
        Name or URL of the remote.
    branch
        Branch name without `refs/heads/`.
    token
        Password for an HTTP remote; it travels in the environment of `git fetch` and `git push` alone.
    """

    repository: Path
    remote: str
    branch: str
    token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        # A ref for each object, since two of them may work in one clone at once, where FETCH_HEAD is shared.
        self._ref = f"refs/write-back/{uuid.uuid4().hex}"

    def __enter__(self) -> Self:
        """Check that the repository is one."""
        self._git("rev-parse", "--git-dir")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the temporary ref."""
        self._git("update-ref", "-d", self._ref)

    def fetch(self) -> str:
        """Fetch the branch with its whole history and return its tip.

        Raises
        ------
        TransportError
            The remote was not reached, or it has no such branch.
        """
        # Which commit is older cannot be told from a history that was cut off.
        shallow = self._git("rev-parse", "--is-shallow-repository").strip() == "true"
        unshallow = ["--unshallow"] if shallow else []
        refspec = f"+refs/heads/{self.branch}:{self._ref}"
        command = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *unshallow, self.remote, refspec]
        result = self._run(*command, env=self._credentials())
        if result.code != 0:
            raise TransportError(f"cannot fetch {self.branch} from {self.remote}: {result.stderr.strip()}")
        return self._git("rev-parse", self._ref).strip()

    def knows(self, commit: str) -> bool:
        """Return whether the clone holds that commit."""
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").code == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether `older` is `newer` or one of its ancestors; both must be known."""
        return self._run("merge-base", "--is-ancestor", older, newer).code == 0

    def read(self, commit: str, path: str) -> str:
        """Return a file's text at a commit.

        Raises
        ------
        GitError
            There is no such file.
        """
        result = self._run("show", f"{commit}:{path}")
        if result.code != 0:
            raise GitError(f"{self.branch} has no file {path} (at {commit[:12]}): check --file and --branch")
        return result.stdout

    def commit(self, parent: str, path: str, text: str, message: str, author: tuple[str, str]) -> str:
        """Return a new commit on top of `parent` in which only that file differs."""
        name, email = author
        mode = self._git("ls-tree", parent, "--", path).split()[0]
        blob = self._git("hash-object", "-w", "--stdin", stdin=text).strip()
        with tempfile.TemporaryDirectory() as folder:
            env = {
                "GIT_INDEX_FILE": str(Path(folder) / "index"),
                "GIT_AUTHOR_NAME": name,
                "GIT_AUTHOR_EMAIL": email,
                "GIT_COMMITTER_NAME": name,
                "GIT_COMMITTER_EMAIL": email,
            }
            self._git("read-tree", parent, env=env)
            self._git("update-index", "--cacheinfo", f"{mode},{blob},{path}", env=env)
            tree = self._git("write-tree", env=env).strip()
            return self._git("commit-tree", tree, "-p", parent, "-F", "-", stdin=message, env=env).strip()

    def push(self, commit: str) -> None:
        """Move the remote's branch to a commit that descends from its tip.

        Raises
        ------
        PushRacedError
            The branch has moved since it was fetched.
        PushRefusedError
            Branch protection, a hook, or missing permission.
        TransportError
            Anything else, such as a lost connection.
        """
        refspec = f"{commit}:refs/heads/{self.branch}"
        result = self._run("push", "--porcelain", self.remote, refspec, env=self._credentials())
        if result.code == 0:
            return
        said = "\n".join(part for part in (result.stdout.strip(), result.stderr.strip()) if part)
        verdict = next((line for line in result.stdout.splitlines() if line.startswith("!")), "")
        if RACE.search(verdict):
            raise PushRacedError(f"{self.branch} has moved on {self.remote}")
        if verdict or DENIED.search(result.stderr):
            raise PushRefusedError(said)
        raise TransportError(f"cannot push to {self.remote}: {said}")

    def _credentials(self) -> dict[str, str]:
        if not self.token:
            return {}
        listed = self._run("remote", "get-url", "--push", self.remote)
        url = listed.stdout.strip() if listed.code == 0 else self.remote
        if not url.startswith(("https://", "http://")):
            return {}
        basic = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
        # Not `-c`, which every user of the machine reads in the process list.
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{url}.extraheader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
        }

    def _git(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> str:
        result = self._run(*arguments, stdin=stdin, env=env)
        if result.code != 0:
            raise GitError(f"git {' '.join(arguments)} failed in {self.repository}: {result.stderr.strip()}")
        return result.stdout

    def _run(self, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> _Result:
        # C: the messages are matched above. No prompt: in CI nobody would answer it.
        merged = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", **(env or {})}
        command = ["git", "-C", str(self.repository), *arguments]
        # Bytes: Python's text mode would rewrite a file's line ends.
        done = subprocess.run(command, input=stdin.encode(), env=merged, capture_output=True, check=False)
        return _Result(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))
