"""What `docs/operations.md` and `docs/adopt.md` show is accepted: settings by the program, commands by the CLI."""

import re
from typing import Any

import pytest
import yaml

from components import announce
from components.reruns import Rerun
from components.settings import reference, schema
from components.settings.korean import KOREAN
from tests.support import program
from tests.support.program import ROOT

TEXT = (ROOT / "docs" / "operations.md").read_text()
ADOPT = (ROOT / "docs" / "adopt.md").read_text()

BLOCKS = re.findall(r"```yaml\n(config:.*?|# yaml-language-server.*?)```", TEXT, re.DOTALL)


def groups_of(block: str) -> dict[str, Any]:
    return {key.removeprefix("vllm-eval:"): value for key, value in yaml.safe_load(block)["config"].items()}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_of_settings_is_accepted_beside_the_first(block: str, documented: dict[str, Any]) -> None:
    program.run({**documented, **groups_of(block)}, stack="staging")


def test_the_stack_file_of_a_fork_is_accepted() -> None:
    (block,) = re.findall(r"```yaml\n(# yaml-language-server.*?)```", ADOPT, re.DOTALL)
    secrets = {"receiver-team": "https://hooks.slack.com/services/x", "registry-credentials": '{"auths": {}}'}
    stack = program.run(groups_of(block), secrets, stack="prod")
    assert {each.kind for each in stack.kubernetes()} >= {"Application", "AlertmanagerConfig", "Secret"}
    assert not stack.has("Release")


def test_the_settings_in_korean_are_those_in_english_and_no_sentence_is_left_over() -> None:
    pages = [reference.english(), reference.korean()]
    assert [text for text in KOREAN.values() if text not in pages[1]] == []
    rows = [[sorted(re.findall("`[^`]+`", line)) for line in page.splitlines() if line[:1] == "|"] for page in pages]
    assert rows[0] == rows[1]


@pytest.fixture
def documented() -> dict[str, Any]:
    block, *_ = BLOCKS
    assert block.startswith(f"# yaml-language-server: $schema={schema.FILE.relative_to(ROOT)}")
    return groups_of(block)


def test_the_documented_stack_declares_everything(documented: dict[str, Any]) -> None:
    stack = program.run(documented, stack="staging")
    assert stack.one("Application").inputs["spec"]["source"]["repoURL"] == "https://github.com/your-org/vllm-eval.git"
    assert len(stack.settings.models) == 1


def test_documented_lines_are_the_ones_that_a_preview_prints() -> None:
    assert f"`{announce.sentence(Rerun(2, 2), 3)}`" in TEXT
    assert f"`{announce.sentence(Rerun(0, 2), 3)}`" in TEXT
    assert " if the Job differs there" in TEXT


def test_settings_and_architecture_are_linked() -> None:
    for name in re.findall(r"`([a-z-]+\.md)`", TEXT):
        assert (ROOT / "docs" / name).is_file(), name
