"""Reads the pages of a run and of all runs as a browser does."""

import base64
import gzip
import html
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit


class Page(HTMLParser):
    """The scripts and the text of a page, as a browser's parser would split them."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        self.text += data

    def rows(self, task: str) -> list[list[Any]]:
        """Return a task's rows as the page's script reads them."""
        (block,) = [data for attributes, data in self.scripts if attributes.get("data-task") == task]
        rows: list[list[Any]] = json.loads(gzip.decompress(base64.b64decode(block)))
        return rows


def verdict_link(address: str, index: str, task: str) -> str:
    """Return where the verdict of a task leads, in the newest run of the model that the index's address names."""
    place = html.escape(unquote(urlsplit(address).fragment))
    row = index.partition(f' id="{place}"')[2].partition("</tr>")[0]
    (link,) = re.findall(rf'href="([^"]*#task={re.escape(quote(task))})"', row)
    return urljoin(address, html.unescape(link))
