"""The commands of `docs/operations.md` and `docs/adopt.md` are accepted by the real CLI."""

import re
import shlex
from pathlib import Path

import jsonschema
import yaml

from components.settings import keys, schema
from tests.support import program
from tests.support.project import Project

COMMANDS = [
    line.split(" < ")[0]
    for block in re.findall(r"```sh\n(.*?)```", program.OPERATIONS + program.ADOPT, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("pulumi config ")
]


def test_the_documented_commands_set_what_the_program_accepts(tmp_path: Path) -> None:
    project = Project(tmp_path, "staging", program.documented(), None)
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if "--secret" in words:
            key = words[-1].removeprefix("vllm-eval:")
            assert keys.is_secret(key)
            project.secret(key, "x")
        else:
            project.pulumi(*words)
        file = yaml.safe_load(project.file.read_text())
        jsonschema.Draft202012Validator(schema.schema()).validate(file)
        groups = program.groups_of(project.file.read_text())
        program.load({key: value for key, value in groups.items() if not keys.is_secret(key)}, stack="staging")
