"""Builds the documentation as a site: `make docs`. The Markdown stays as GitHub shows it; only links are rewritten.

The site's generator wants all pages in one folder, but README.md and a few others lie outside of docs/, and pages link
to files that are no pages. So a copy is made, where all pages are in one folder and the other links lead to GitHub.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from workbench.paths import REPOSITORY

SITE: Final = REPOSITORY / "site"
ON_THE_WEB: Final = "https://github.com/vllm-eval/vllm-eval/blob/main"
# Pages outside of docs/, and where the site has them.
OTHERS: Final = {
    "README.md": "index.md",
    "README.ko.md": "ko/index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "eval/evalchemy/README.md": "task.md",
}
LINK: Final = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
_BLOCK: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def main() -> int:
    """Build the site and return the generator's exit code; a link that leads nowhere is 1."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if broken := assemble(folder / "docs"):
            print("\n".join(f"error: {each}" for each in broken), file=sys.stderr)
            return 1
        shutil.copy(REPOSITORY / "docs/zensical.toml", folder)
        done = subprocess.run([Path(sys.argv[1]).absolute(), "build", "--clean", "--strict"], cwd=folder, check=False)
        if done.returncode == 0:
            shutil.rmtree(SITE, ignore_errors=True)
            shutil.copytree(folder / "site", SITE)
            print(f"open {SITE / 'index.html'}")
        return done.returncode


def assemble(target: Path) -> list[str]:
    """Write every page, with its links rewritten, and the pictures; return the links that lead nowhere."""
    places = pages()
    broken: list[str] = []
    for source, place in places.items():
        page = target / place
        page.parent.mkdir(parents=True, exist_ok=True)
        text = (REPOSITORY / source).read_text(encoding="utf-8")
        page.write_text(_laid(text, PurePosixPath(source), places, broken), encoding="utf-8")
    shutil.copytree(REPOSITORY / "docs/images", target / "images")
    return broken


def pages() -> dict[str, str]:
    """Return the place of each page in the site, by its path in the repository."""
    docs = REPOSITORY / "docs"
    own = {f"docs/{path.relative_to(docs)}": str(path.relative_to(docs)) for path in sorted(docs.rglob("*.md"))}
    return {**own, **OTHERS}


def _laid(text: str, source: PurePosixPath, places: dict[str, str], broken: list[str]) -> str:
    def lay(link: re.Match[str]) -> str:
        path = os.path.normpath(source.parent / link[1])
        if path in places:
            found = os.path.relpath(places[path], PurePosixPath(places[str(source)]).parent)
        elif path.startswith("docs/images/"):
            found = os.path.relpath(path.removeprefix("docs/"), PurePosixPath(places[str(source)]).parent)
        else:
            found = f"{ON_THE_WEB}/{path}"
        if not (REPOSITORY / path).exists():
            broken.append(f"{source} links to {link[1]}, which is not there")
        return f"{found}{link[2] or ''}"

    return "".join(part if part.startswith("```") else LINK.sub(lay, part) for part in _parts(text))


def _parts(text: str) -> Iterator[str]:
    """Yield text and blocks of code in turn."""
    at = 0
    for block in _BLOCK.finditer(text):
        yield text[at : block.start()]
        yield block[0]
        at = block.end()
    yield text[at:]


if __name__ == "__main__":
    sys.exit(main())
