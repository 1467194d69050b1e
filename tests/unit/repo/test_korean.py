"""The Korean pages say what the English ones say, as far as a program can tell: commands, links, headings, tables."""

import re
from pathlib import Path

import pytest

from workbench.paths import REPOSITORY

PAIRS = [
    ("README.md", "README.ko.md"),
    *((f"docs/{page.name}", f"docs/ko/{page.name}") for page in sorted((REPOSITORY / "docs/ko").glob("*.md"))),
]
BLOCKS = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(file: str) -> list[tuple[str, str]]:
    """Return the blocks that are typed or read by a program; of a drawing, its shape without the words."""
    found = BLOCKS.findall((REPOSITORY / file).read_text())
    return [(kind, re.sub(r"\[.*?\]|-- .*? -->|-\. .*? \.->", "", text) if kind == "mermaid" else text)
            for kind, text in found]  # fmt: skip


def targets(file: str) -> set[Path]:
    """Return the files that a page links to, but itself and its other language."""
    folder = (REPOSITORY / file).parent
    links = {link.partition("#")[0] for link in LINK.findall((REPOSITORY / file).read_text())}
    paths = {(folder / link).resolve() for link in links if link and "://" not in link}
    korean = {(REPOSITORY / ko).resolve(): (REPOSITORY / en).resolve() for en, ko in PAIRS}
    pair = {(REPOSITORY / name).resolve() for names in PAIRS if file in names for name in names}
    # A page or picture in Korean stands for the one in English; the link between the two pages is no content.
    paths = {korean.get(path, path) for path in paths if path not in pair}
    return {path.with_stem(path.stem.removesuffix("-ko")) for path in paths}


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_both_languages_have_the_same_commands_drawings_and_headings(english: str, korean: str) -> None:
    assert blocks(korean) == blocks(english)
    heads = [
        re.findall(r"^(#+) ", BLOCKS.sub("", (REPOSITORY / each).read_text()), re.MULTILINE)
        for each in (english, korean)
    ]
    assert heads[0] == heads[1]
    rows = [len(re.findall(r"^\|", (REPOSITORY / each).read_text(), re.MULTILINE)) for each in (english, korean)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("english", "korean"), PAIRS)
def test_both_languages_lead_to_the_same_files_and_these_exist(english: str, korean: str) -> None:
    assert targets(korean) == targets(english)
    for page in (english, korean):
        linked = {link.partition("#")[0] for link in LINK.findall((REPOSITORY / page).read_text()) if "://" not in link}
        assert [link for link in linked if not ((REPOSITORY / page).parent / link).exists()] == []
