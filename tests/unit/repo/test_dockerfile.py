"""What the evaluation image's Dockerfile promises, as far as its text shows it; the end-to-end suite builds it."""

import re
from typing import Final

from tests.support import evalchemy
from workbench.paths import REPOSITORY

TEXT: Final = (REPOSITORY / "docker/evalchemy.Dockerfile").read_text()
STAGES: Final = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL))


def test_the_default_target_is_evalchemy_on_top_of_the_runner() -> None:
    assert list(STAGES)[-1] == "evalchemy"
    assert "FROM runner AS evalchemy" in TEXT
    assert "USER 65532:65532" in STAGES["runner"]
    assert "USER" not in STAGES["evalchemy"]


def test_every_source_is_pinned() -> None:
    assert re.search(r"^ARG BASE=\S+@sha256:[0-9a-f]{64}$", TEXT, re.MULTILINE)
    commits = dict(re.findall(r"^ARG (\w+_COMMIT)=([0-9a-f]{40})$", TEXT, re.MULTILINE))
    assert commits["EVALCHEMY_COMMIT"] == evalchemy.COMMIT
    fetched = re.findall(r"^ADD \S+\.git#\$\{(\w+)\}", TEXT, re.MULTILINE)
    assert sorted(fetched) == sorted(commits)
    for name in re.findall(r"-r /src/(\S+)", TEXT):
        (file,) = [
            path for path in (REPOSITORY / "docker" / name, REPOSITORY / "eval/evalchemy" / name) if path.exists()
        ]
        assert "--hash=sha256:" in file.read_text()


def test_no_unhashed_package_is_installed() -> None:
    for command in re.findall(r"pip install (.*?)(?= && |\n\S|$)", TEXT.replace("\\\n", " "), re.DOTALL):
        assert "--require-hashes" in command or "--no-index" in command, command


def test_what_the_image_copies_reaches_the_builder() -> None:
    allowed = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in re.findall(r"^COPY (?!--from|<<)(\S+) ", TEXT, re.MULTILINE):
        assert (REPOSITORY / source).exists()
        assert any(source == each or source.startswith(f"{each}/") for each in allowed), source
