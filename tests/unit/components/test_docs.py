"""What `docs/operations.md` and `docs/adopt.md` show is accepted: settings by the program, commands by the CLI."""

import re

import pytest

from components.settings import reference
from components.settings.korean import KOREAN
from tests.support import program

BLOCKS = re.findall(r"```yaml\n(config:.*?|# yaml-language-server.*?)```", program.OPERATIONS, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_of_settings_is_accepted_beside_the_first(block: str) -> None:
    program.run({**program.documented(), **program.groups_of(block)}, stack="staging")


def test_the_stack_file_of_a_fork_is_accepted() -> None:
    (block,) = re.findall(r"```yaml\n(# yaml-language-server.*?)```", program.ADOPT, re.DOTALL)
    secrets = {"receiver-team": "https://hooks.slack.com/services/x", "registry-credentials": '{"auths": {}}'}
    stack = program.run(program.groups_of(block), secrets, stack="prod")
    assert {each.kind for each in stack.kubernetes()} >= {"Application", "AlertmanagerConfig", "Secret"}
    assert not stack.has("Release")


def test_the_settings_in_korean_are_those_in_english_and_no_sentence_is_left_over() -> None:
    pages = [reference.english(), reference.korean()]
    assert [text for text in KOREAN.values() if text not in pages[1]] == []
    rows = [[sorted(re.findall("`[^`]+`", line)) for line in page.splitlines() if line[:1] == "|"] for page in pages]
    assert rows[0] == rows[1]
