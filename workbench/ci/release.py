"""Makes a release of what is checked out: `make release VERSION=1.2.0`.

Puts the section *Unreleased* of CHANGELOG.md under a heading with the version and the day, sets the version of the
runner's package, commits both and tags the commit. Nothing is pushed.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from components.labels import COMMIT_ANNOTATION, JOB_MANIFEST
from workbench.paths import IMAGE_SOURCES

VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
UNRELEASED: Final = "## Unreleased\n"
CHANGELOG: Final = "CHANGELOG.md"
PACKAGE: Final = "eval/evalchemy/pyproject.toml"
RECORDED: Final = re.compile(rf"^ *{COMMIT_ANNOTATION}: \"?([0-9a-f]{{40,64}})\"?$", re.MULTILINE)
DIGEST: Final = re.compile(r"^ *image: \S+@sha256:[0-9a-f]{64}$", re.MULTILINE)


class ReleaseError(Exception):
    """Why there is no release, and what to do."""


def notes(changelog: str) -> str:
    """Return what is unreleased.

    Raises
    ------
    ReleaseError
        When there is no such section, or nothing in it.
    """
    _, found, rest = changelog.partition(UNRELEASED)
    text = rest.partition("\n## ")[0].strip()
    if not found or not text:
        raise ReleaseError(f"{CHANGELOG} has nothing under {UNRELEASED.strip()!r}: write what changes for users")
    return text


def released(changelog: str, version: str, day: str) -> str:
    """Return the changelog with what is unreleased under a version of its own."""
    return changelog.replace(UNRELEASED, f"{UNRELEASED}\n## {version} ({day})\n", 1)


def check(version: str, tags: Iterable[str]) -> None:
    """Refuse a text that is no version, and a version that is not above every tag.

    Raises
    ------
    ReleaseError
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"VERSION is {version!r}: give three numbers, such as make release VERSION=1.2.0")
    known = [tag.removeprefix("v") for tag in tags if VERSION.fullmatch(tag.removeprefix("v"))]
    newest = max(known, key=_numbers, default=None)
    if newest is not None and _numbers(version) <= _numbers(newest):
        raise ReleaseError(f"VERSION is {version}, but v{newest} is there already: give a higher one")


def check_image(repository: Path) -> None:
    """Refuse a release whose manifest names an image of older code.

    Raises
    ------
    ReleaseError
    """
    text = (repository / JOB_MANIFEST).read_text(encoding="utf-8")
    recorded = RECORDED.search(text)
    cure = "push main, let image-build write its image back (docs/ci.md), `git pull`, and release again"
    if recorded is None or DIGEST.search(text) is None:
        raise ReleaseError(f"{JOB_MANIFEST} names no image that CI has built: {cure}")
    paths = ("--", *IMAGE_SOURCES, f":!{PACKAGE}")
    if changed := _git(repository, "diff", "--name-only", recorded[1], "HEAD", *paths).splitlines():
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ReleaseError(f"{JOB_MANIFEST} runs the image of {recorded[1][:12]}, before {changed[0]}{others}: {cure}")


def release(version: str, repository: Path) -> None:
    """Write, commit and tag.

    Raises
    ------
    ReleaseError
        Before anything is changed.
    """
    check(version, _git(repository, "tag", "--list", "v*").split())
    if changed := _git(repository, "status", "--porcelain"):
        raise ReleaseError(f"commit or stash first what is not committed:\n{changed}")
    if (branch := _git(repository, "branch", "--show-current")) != "main":
        raise ReleaseError(f"the branch is {branch or 'none'}: a release is made on main (git switch main)")
    changelog, package = repository / CHANGELOG, repository / PACKAGE
    text = changelog.read_text(encoding="utf-8")
    told = notes(text)
    check_image(repository)
    changelog.write_text(released(text, version, f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    described = re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', package.read_text(encoding="utf-8"), count=1)
    package.write_text(described, encoding="utf-8")
    _git(repository, "commit", "--quiet", "--message", f"Release {version}", "--", CHANGELOG, PACKAGE)
    # Not the default clean-up: it would drop lines that begin with `#`.
    _git(repository, "tag", "--annotate", "--cleanup=whitespace", "--message", f"{version}\n\n{told}", f"v{version}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _git(repository: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ReleaseError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def main() -> int:
    """Make the release and say how to publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="", help="three numbers, such as 1.2.0")
    parser.add_argument("--repository", type=Path, default=Path(), help="the clone (default: this folder)")
    options = parser.parse_args()
    try:
        release(options.version, options.repository)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"v{options.version} is committed and tagged; publish it: git push --follow-tags")
    return 0


if __name__ == "__main__":
    sys.exit(main())
