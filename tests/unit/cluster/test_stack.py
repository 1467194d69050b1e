"""A stack file of `make up CONTEXT=…`: what is typed is laid over it, and the rest is judged as it is written."""

import pytest
import yaml

from components.settings import SettingsError, file
from workbench.cluster import stack

TEXT = """\
config:
  vllm-eval:evaluation:
    time_zone: no
    limit: 5
  vllm-eval:models: [{name: a}, {name: b}]
"""


def test_groups_are_laid_over_key_by_key_and_the_rest_is_as_pulumi_reads_it() -> None:
    changes = {"evaluation": {"limit": 9}, "models": [{"name": "c"}], "cluster": {"context": "no"}}
    assert file.parse("x", stack.laid_over(TEXT, changes))[0]["config"] == {
        "vllm-eval:evaluation": {"time_zone": "no", "limit": 9},
        "vllm-eval:models": [{"name": "c"}],
        "vllm-eval:cluster": {"context": "no"},
    }


def test_a_key_that_stands_twice_is_still_refused_by_the_program() -> None:
    twice = TEXT.replace("limit: 5", "limit: 5\n    limit: 6")
    with pytest.raises(SettingsError, match="limit: stands twice"):
        file.parse("x", stack.laid_over(twice, {"cluster": {"context": "c"}}))


@pytest.mark.parametrize("text", ["", "just a text", "config: 3", "config: {a"])
def test_what_is_no_stack_file_is_refused(text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        stack.laid_over(text, {})
