"""A git server that Argo CD can read, holding this clone as it is now."""

import http.server
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from components import labels
from workbench.paths import IMAGE_SOURCES, REPOSITORY
from workbench.sandbox.addresses import GIT_PORT, NODE_ADDRESS
from workbench.sandbox.namespaces import Sandbox
from workbench.shell import CommandError, run

NAME: Final = "vllm-eval.git"
JOB: Final = labels.JOB_MANIFEST
COMMIT_PATH: Final = f'.spec.template.metadata.annotations."{labels.COMMIT_ANNOTATION}"'
IMAGE_PATH: Final = f'(.spec.template.spec.containers[] | select(.name == "{labels.EVALUATION}") | .image)'
UNKNOWN: Final = "unknown"  # what the manifest says before the first write-back
IDENTITY: Final = {
    f"GIT_{role}_{part}": value
    for role in ("AUTHOR", "COMMITTER")
    for part, value in (("NAME", "sandbox"), ("EMAIL", "sandbox@localhost"))
}
BACKEND: Final = "/usr/lib/git-core/git-http-backend"


def start(sandbox: Sandbox) -> None:
    """Serve the repositories below the sandbox's state by smart HTTP, the only kind that Argo CD reads."""
    bare = repository(sandbox)
    # A killed git leaves its locks. `git init` repairs a repository whose first `init` was killed.
    for lock in (*bare.rglob("*.lock"), _index(sandbox).with_suffix(".lock")):
        lock.unlink(missing_ok=True)
    git(sandbox, "init", "--quiet", "--bare", "--initial-branch=main", bare)
    sandbox.daemon("git", [sys.executable, "-m", "workbench.sandbox.git", bare.parent])


def repository(sandbox: Sandbox) -> Path:
    """Return the bare repository that is served."""
    return sandbox.paths.state / "git" / NAME


def clone(sandbox: Sandbox, folder: Path, bare: Path | None = None) -> None:
    """Make a new clone, by default of the served repository. The old one may be incomplete, or locked by a dead git."""
    shutil.rmtree(folder, ignore_errors=True)
    git(sandbox, "clone", "--quiet", bare or repository(sandbox), folder)


def git(sandbox: Sandbox, *words: str | Path, stdin: str | None = None, **variables: str) -> str:
    """Run git outside of the sandbox, without the caller's settings and hooks, and return what it printed."""
    env = {**sandbox.env(), **IDENTITY, **variables, "PATH": os.environ["PATH"]}
    return run(["git", *words], env=env, cwd=REPOSITORY, stdin=stdin).strip()


def publish(sandbox: Sandbox) -> str:
    """Commit the working tree, uncommitted changes included, to the served branch `main` unless it is there.

    The image that the last write-back recorded in the Job's manifest is kept,
    as it would be in a clone that had pulled it.

    Returns
    -------
    str
        The commit at the branch's tip.
    """
    bare = repository(sandbox)
    head = tip(sandbox)
    # A separate index leaves the user's index, and what is staged in it, unchanged.
    index = {"GIT_INDEX_FILE": str(_index(sandbox))}
    ours = (f"--git-dir={bare}", f"--work-tree={REPOSITORY}")
    git(sandbox, *ours, "add", "--all", **index)
    if head and (commit := recorded(sandbox, COMMIT_PATH)) != UNKNOWN:
        update = f"{COMMIT_PATH} = strenv(COMMIT) | {IMAGE_PATH} = strenv(IMAGE)"
        strings = {**os.environ, "COMMIT": commit, "IMAGE": recorded(sandbox, IMAGE_PATH)}
        kept = run([sandbox.paths.bin / "yq", update], stdin=(REPOSITORY / JOB).read_text(), env=strings)
        blob = git(sandbox, *ours, "hash-object", "-w", "--stdin", stdin=kept)
        git(sandbox, *ours, "update-index", "--cacheinfo", f"100644,{blob},{JOB}", **index)
    tree = git(sandbox, *ours, "write-tree", **index)
    if head and git(sandbox, *ours, "rev-parse", f"{head}^{{tree}}") == tree:
        return head
    parents = ["-p", head] if head else []
    commit = git(sandbox, *ours, "commit-tree", tree, *parents, "-m", "Working tree of the clone")
    git(sandbox, *ours, "update-ref", "refs/heads/main", commit)
    return commit


def recorded(sandbox: Sandbox, path: str) -> str:
    """Return what the Job's manifest on `main` names: the commit of its image, or `UNKNOWN`, and the image."""
    manifest = git(sandbox, f"--git-dir={repository(sandbox)}", "show", f"main:{JOB}")
    return run([sandbox.paths.bin / "yq", path], stdin=manifest).strip()


def image_is_current(sandbox: Sandbox) -> bool:
    """Tell whether what the image is built from is unchanged since the recorded commit."""
    commit = recorded(sandbox, COMMIT_PATH)
    if commit == UNKNOWN:
        return False
    try:
        git(sandbox, f"--git-dir={repository(sandbox)}", "diff", "--quiet", commit, "main", "--", *IMAGE_SOURCES)
    except CommandError:
        return False
    return True


def tip(sandbox: Sandbox) -> str:
    """Return the commit at the tip of `main`, empty before the first."""
    try:
        return git(sandbox, f"--git-dir={repository(sandbox)}", "rev-parse", "--verify", "--quiet", "main")
    except CommandError:
        return ""


def _index(sandbox: Sandbox) -> Path:
    return sandbox.paths.state / "git-index"


class GitHandler(http.server.BaseHTTPRequestHandler):
    """Passes each request to git's own CGI program."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:  # the name is http.server's
        """Answer a fetch's discovery."""
        self.backend(b"")

    def do_POST(self) -> None:  # the name is http.server's
        """Answer a fetch or a push."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.backend(self._chunks())
        else:
            self.backend(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def backend(self, body: bytes) -> None:
        """Answer with what git's program makes of the request."""
        path, _, query = self.path.partition("?")
        environment = {
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "REMOTE_USER": "sandbox",
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run([BACKEND], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    """Serve the folder given as argument until killed."""
    GitHandler.root = Path(sys.argv[1])
    http.server.ThreadingHTTPServer((NODE_ADDRESS, GIT_PORT), GitHandler).serve_forever()


if __name__ == "__main__":
    main()
