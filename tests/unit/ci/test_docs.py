"""`make docs`: every page has its place, and every link leads somewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from workbench.ci import docs
from workbench.paths import REPOSITORY


def written(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.md")}


def test_no_link_of_the_documentation_leads_nowhere(tmp_path: Path) -> None:
    assert docs.assemble(tmp_path / "site") == []
    for place, text in written(tmp_path / "site").items():
        for link, _ in docs.LINK.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)):
            assert ((tmp_path / "site" / place).parent / link).is_file(), f"{place}: {link}"


def test_every_page_is_in_the_menu_or_led_to_by_the_list_of_decisions() -> None:
    menu: list[dict[str, list[dict[str, str]]]] = tomllib.loads((REPOSITORY / "docs/zensical.toml").read_text())[
        "project"
    ]["nav"]
    listed = {page for part in menu for entries in part.values() for entry in entries for page in entry.values()}
    assert listed == {place for place in docs.pages().values() if not re.match("adr/(?!README)", place)}


def test_what_is_no_page_is_an_address_and_what_is_a_command_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: dict[str, Any] = {
        "README.md": "[guide](docs/guide.md#start) [code](monitoring/rules.py)\n```sh\nls [x](nowhere.md)\n```\n",
        "docs/guide.md": "[home](../README.md) [lost](lost.md)",
        "monitoring/rules.py": "",
        "docs/images/picture.webp": "",
    }
    for name, text in pages.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(docs, "REPOSITORY", tmp_path)
    monkeypatch.setattr(docs, "OTHERS", {"README.md": "index.md"})
    assert docs.assemble(tmp_path / "site") == ["docs/guide.md links to lost.md, which is not there"]
    found = written(tmp_path / "site")
    assert found["index.md"].startswith(f"[guide](guide.md#start) [code]({docs.ON_THE_WEB}/monitoring/rules.py)\n")
    assert "[x](nowhere.md)" in found["index.md"]
    assert found["guide.md"].startswith("[home](index.md) ")
