"""The evaluation Job's manifest: what it records of commit and image, and how both are replaced."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components import labels

FILE: Final = labels.JOB_MANIFEST
CONTAINER: Final = labels.EVALUATION
COMMIT_PATH: Final = f'.spec.template.metadata.annotations."{labels.COMMIT_ANNOTATION}"'
IMAGE_PATH: Final = ".spec.template.spec.containers[] | select(.name == strenv(CONTAINER)) | .image"


class ManifestError(Exception):
    """The manifest is not the evaluation Job, or `yq` is not the one that is needed."""


@dataclass(frozen=True)
class Recorded:
    """What a manifest says.

    Attributes
    ----------
    commit
        The pod template's annotation `git-commit`; empty when absent.
    image
        Image reference of the container `evalchemy`.
    """

    commit: str
    image: str


def check_yq() -> None:
    """Make sure that `yq` is mikefarah's, version 4.

    Raises
    ------
    ManifestError
        Names the program found. Debian's and PyPI's `yq` is another program with another language.
    """
    try:
        said = subprocess.run(["yq", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        said = "nothing"
    if "mikefarah" not in said or " v4." not in said:
        raise ManifestError(
            f"yq v4 of github.com/mikefarah/yq is needed, PATH has {said or 'another yq'}:"
            " put the pinned one (make tools) first on PATH"
        )


def read(text: str) -> Recorded:
    """Return what the manifest records.

    Raises
    ------
    ManifestError
        It is not YAML, not a Job, or has no container `evalchemy`.
    """
    job = _parse(text)
    if (kind := _at(job, "kind")) != "Job":
        raise ManifestError(
            f"kind is {kind!r}, 'Job' is needed: the file must hold the evaluation Job and nothing else"
        )
    containers = _at(job, "spec", "template", "spec", "containers")
    named = {str(_at(container, "name")): container for container in containers} if isinstance(containers, list) else {}
    if CONTAINER not in named:
        raise ManifestError(f"a container named {CONTAINER!r} is needed, the Job has: {', '.join(named) or 'none'}")
    commit = _at(job, "spec", "template", "metadata", "annotations", labels.COMMIT_ANNOTATION)
    return Recorded(commit=str(commit or ""), image=str(_at(named[CONTAINER], "image") or ""))


def replace(text: str, new: Recorded) -> str:
    """Return the manifest with commit and image replaced and everything else as its author wrote it.

    Raises
    ------
    ManifestError
        yq refuses the manifest.
    """
    old = read(text)
    for expression, before, after in (
        (f"{COMMIT_PATH} = strenv(COMMIT)", old.commit, new.commit),
        (f"({IMAGE_PATH}) = strenv(IMAGE)", old.image, new.image),
    ):
        text = _replace_value(text, _yq(["-"], expression, text, new), before, after)
    return text


def _replace_value(text: str, edited: str, before: str, after: str) -> str:
    """Return `text` with one value replaced in place, or `edited`, yq's output, where that does not mean the same.

    yq decides what the result must mean, but its output loses blank lines and
    changes indentation, and a human's formatting is theirs. (Its operator
    `line` can't tell the place: it does not count a comment at the top.)
    """
    meaning = _parse(edited)
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not before or before not in line:
            continue
        trial = "".join([*lines[:number], line.replace(before, after, 1), *lines[number + 1 :]])
        try:
            if _parse(trial) == meaning:
                return trial
        except ManifestError:
            continue
    return text if _parse(text) == meaning else edited


def validate(text: str, path: str, command: list[str], directory: Path) -> None:
    """Run a command, such as a server-side dry run, on the manifest.

    Raises
    ------
    ManifestError
        The command failed; its output is quoted.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(path).name
        file.write_bytes(text.encode())
        result = subprocess.run([*command, str(file)], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stdout + result.stderr).strip()
        raise ManifestError(f"{path} was refused by `{' '.join(command)}`, so nothing was pushed:\n{said}")


def _at(value: object, *keys: str) -> object:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _parse(text: str) -> object:
    try:
        return json.loads(_yq(["-o=json", "-"], ".", text, Recorded("", "")))
    except json.JSONDecodeError as error:  # several documents
        raise ManifestError(f"the file must hold the evaluation Job and nothing else: {error}") from error


def _yq(options: list[str], expression: str, text: str, values: Recorded) -> str:
    # strenv: values go through the environment, so that none can be read as an expression.
    env = {**os.environ, "COMMIT": values.commit, "IMAGE": values.image, "CONTAINER": CONTAINER}
    command = ["yq", "eval", expression, *options]
    # Bytes: Python's text mode would rewrite a file's line ends.
    result = subprocess.run(command, input=text.encode(), env=env, capture_output=True, check=False)
    if result.returncode != 0:
        raise ManifestError(f"the manifest cannot be read: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout.decode()
