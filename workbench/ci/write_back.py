"""Record a built image in the evaluation Job's manifest and push that to the branch Argo CD follows.

Sets `.spec.template.metadata.annotations."git-commit"` and the image of the
container `evalchemy` (`NAME:TAG@DIGEST`), commits with `[skip ci]`, pushes.
When somebody else pushes first, it starts again from their tip, so both edits
survive and there is no conflict to resolve. A run that was overtaken by a newer
commit writes nothing.

The environment variable WRITE_BACK_TOKEN is the password for an HTTP remote.

Exit codes: 0 written, or rightly nothing to do; 2 bad input or manifest;
3 the remote refuses the push; 5 the remote was not reached or always moved.
"""

import argparse
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workbench.ci import job_manifest
from workbench.ci.git_remote import GitError, PushRacedError, PushRefusedError, RemoteBranch, TransportError
from workbench.ci.job_manifest import ManifestError, Recorded

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
IMAGE: Final = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+")

REFUSED: Final = """\
{remote} does not let this workflow push to {branch}:
{said}

If the branch is protected, choose one way (docs/ci.md, "Protected branches"):
  App token      let a GitHub App bypass the protection and give this script its token as WRITE_BACK_TOKEN
  pull request   write back to a branch that is not protected (--branch) and merge it by pull request
If it is not, the token lacks `contents: write`. The image is in the registry either way: {image}"""


class InputError(Exception):
    """An argument is wrong."""


@dataclass(frozen=True)
class BuiltImage:
    """A pushed image: name without tag, tag, and the digest that the push returned."""

    name: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}@{self.digest}"


@dataclass(frozen=True)
class Outcome:
    """What was done: `written`, `current` (recorded already) or `superseded`, a sentence, the new commit if any."""

    result: str
    sentence: str
    commit: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        outcome = run(options)
    except (InputError, ManifestError) as error:
        return _fail(str(error), 2)
    except PushRefusedError as error:
        said = "\n".join(f"  {line}" for line in str(error).splitlines())
        image = f"{options.image}@{options.digest}"
        return _fail(REFUSED.format(remote=options.remote, branch=options.branch, said=said, image=image), 3)
    except (PushRacedError, TransportError) as error:
        return _fail(f"{error}; gave up after {options.attempts} attempts, run the job again", 5)
    except GitError as error:
        return _fail(str(error), 2)
    print(outcome.sentence)
    _append("GITHUB_OUTPUT", f"result={outcome.result}\ncommit={outcome.commit}\n")
    _append("GITHUB_STEP_SUMMARY", f"{outcome.sentence}\n")
    return 0


def run(options: argparse.Namespace) -> Outcome:
    """Write back, and start again from the new tip as often as somebody else pushes first.

    Raises
    ------
    InputError, ManifestError, GitError
        See `main` for their exit codes.
    """
    image = _image(options)
    job_manifest.check_yq()
    token = os.environ.pop("WRITE_BACK_TOKEN", "")
    with RemoteBranch(Path(options.repository), options.remote, options.branch, token) as branch:
        for attempt in range(1, options.attempts + 1):
            try:
                return _attempt(branch, options, image)
            except (PushRacedError, TransportError) as error:
                if attempt == options.attempts:
                    raise
                print(f"{error}; attempt {attempt + 1} of {options.attempts}")
                # Jitter: two racing runs that wait alike would meet again.
                time.sleep(options.backoff * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
    raise InputError(f"--attempts is {options.attempts}, 1 or more is needed")


def _attempt(branch: RemoteBranch, options: argparse.Namespace, image: BuiltImage) -> Outcome:
    tip = branch.fetch()
    commit = options.commit
    if not branch.knows(commit) or not branch.is_ancestor(commit, tip):
        raise InputError(
            f"--commit {commit} is not on {branch.branch}: it was built from another branch, or the branch was"
            " rewritten since; run the workflow on the branch's own tip"
        )
    text = branch.read(tip, options.file)
    recorded = job_manifest.read(text)
    short = commit[:12]
    if recorded.commit != commit and _descends(branch, recorded.commit, commit):
        return Outcome(
            "superseded", f"Nothing written: {options.file} records {recorded.commit}, which is newer than {short}"
        )
    same = _runs_the_same(recorded.image, image, options)
    new = Recorded(commit=commit, image=recorded.image if same else str(image))
    if new == recorded:
        return Outcome("current", f"Nothing written: {options.file} records {short} with this image already")
    written = job_manifest.replace(text, new)
    if options.validate:
        job_manifest.validate(written, options.file, shlex.split(options.validate), Path(options.repository))
    note = "image unchanged" if same else str(image)
    message = f"Evaluate {short} [skip ci]\n\nImage: {new.image}\nSource-commit: {commit}\n"
    pushed = branch.commit(tip, options.file, written, message, (options.author_name, options.author_email))
    branch.push(pushed)
    return Outcome("written", f"{options.file} on {branch.branch} now records {short}, {note}", pushed)


def _descends(branch: RemoteBranch, recorded: str, commit: str) -> bool:
    """Return whether the recorded commit is a descendant of ours; what is no known commit is not."""
    return COMMIT.fullmatch(recorded) is not None and branch.knows(recorded) and branch.is_ancestor(commit, recorded)


def _runs_the_same(recorded: str, image: BuiltImage, options: argparse.Namespace) -> bool:
    """Return whether the recorded image runs the same bits as the new one.

    The digest of a push names an index that also holds attestations; they carry
    build times, so it changes with every build. What runs are the platforms' manifests.
    """
    if recorded == str(image):
        return True
    prefix = f"{image.name}:{image.tag}@"
    if not options.inspect:
        return False
    new = _runnable(image.digest, image.name, options)
    if new is None:
        raise InputError(f"--digest {image.digest}: the registry has no such image under {image.name}")
    if not recorded.startswith(prefix):
        return False
    # An old image that the registry has cleaned away cannot be the same.
    return _runnable(recorded.removeprefix(prefix), image.name, options) == new


def _runnable(digest: str, name: str, options: argparse.Namespace) -> frozenset[str] | None:
    """Return the digests of the manifests that a node would run, or None when the registry lacks the image."""
    command = [*shlex.split(options.inspect), f"{options.inspect_name or name}@{digest}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        print(f"`{' '.join(command)}` failed: {result.stderr.strip()}")
        return None
    members = json.loads(result.stdout).get("manifests")
    if members is None:
        return frozenset({digest})
    return frozenset(
        member["digest"]
        for member in members
        if "vnd.docker.reference.type" not in member.get("annotations", {})
        and member.get("platform", {}).get("os") != "unknown"
    )


def _image(options: argparse.Namespace) -> BuiltImage:
    # Registries take lower case only, while owners' names may be mixed.
    name = options.image.lower()
    if not IMAGE.fullmatch(name):
        raise InputError(f"--image {options.image!r} must be REGISTRY/PATH without tag and digest")
    if not DIGEST.fullmatch(options.digest):
        raise InputError(
            f"--digest {options.digest!r} must be sha256: and 64 hexadecimal digits, as the push printed it"
        )
    if not COMMIT.fullmatch(options.commit):
        raise InputError(f"--commit {options.commit!r} must be a full commit hash (git rev-parse HEAD)")
    return BuiltImage(name, options.tag, options.digest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--repository", default=".", help="a clone of the remote (default: %(default)s)")
    add("--remote", default="origin", help="name or URL (default: %(default)s)")
    add("--branch", default="main", help="branch that Argo CD follows (default: %(default)s)")
    add("--file", default=job_manifest.FILE, help="the Job (default: %(default)s)")
    add("--image", required=True, help="image name without tag; lower-cased")
    add("--tag", default="latest", help="written beside the digest (default: %(default)s)")
    add("--digest", required=True, help="digest that the push returned")
    add("--commit", required=True, help="commit that the image was built from")
    add(
        "--inspect",
        default="",
        help="command that prints the raw manifest of an image; without it digests are compared",
    )
    add("--inspect-name", default="", help="name under which --inspect reaches the image (default: --image)")
    add("--validate", default="", help="command that is given the new manifest and fails when it must not be pushed")
    add("--attempts", type=int, default=6, help="pushes to try (default: %(default)s)")
    add("--backoff", type=float, default=1.0, metavar="SECONDS", help="first wait; doubles (default: %(default)s)")
    add("--author-name", default="github-actions[bot]")
    add("--author-email", default="41898282+github-actions[bot]@users.noreply.github.com")
    return parser


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def _fail(message: str, code: int) -> int:
    print(f"write-back: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
