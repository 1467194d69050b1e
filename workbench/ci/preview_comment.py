"""One comment on a pull request: what each environment's update would change, sync and re-run.

Reads the records that `pulumi_stack.py preview` wrote. Fails, so that the
check is red, when a preview failed, when the manifests cannot be rendered, or
when something would be replaced or deleted and the pull request lacks the
label `allow-destroy`; replacing the evaluation Job is a re-run and no loss.

Exit codes: 0 green; 1 red; 2 the comment could not be written.
"""

import argparse
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.ci.github_api import GitHub, GitHubError
from workbench.ci.preview_plan import Change, PreviewPlan, RecordError, load
from workbench.ci.preview_render import PreviewError, PullRequest, Rendered, render

MARKER: Final = "<!-- vllm-eval preview -->"
LABEL: Final = "allow-destroy"
NO_SECRETS: Final = (
    "No `pulumi preview` here: a pull request from a fork, or from Dependabot, gets no secrets of this repository,"
    " and a preview needs the stacks' state and cluster. A maintainer can push the branch here to get one."
)
# GitHub takes 65,536 characters a comment.
BODY_CHARACTERS: Final = 60_000
NAMES: Final = 20


@dataclass(frozen=True)
class Section:
    """The part of the comment about one environment, and why the check is red, if it is."""

    text: str
    problem: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.no_secrets:
        _summary(NO_SECRETS)
        print(NO_SECRETS)
        return 0
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))["pull_request"]
    allowed = LABEL in {label["name"] for label in event["labels"]}
    pull_request = PullRequest(
        repository=options.repository,
        base_branch=event["base"]["ref"],
        base=options.base or event["base"]["sha"],
        head=options.head or event["head"]["sha"],
    )
    room = BODY_CHARACTERS // max(len(options.stacks), 1)
    sections = [
        section(stack, options.records / f"{stack}.json", pull_request, allowed=allowed, room=room)
        for stack in options.stacks
    ]
    problems = [each.problem for each in sections if each.problem]
    body = comment([each.text for each in sections], problems, pull_request.head)
    _summary(body)
    for problem in problems:
        print(f"::error::{_one_line(problem)}")
    try:
        done = GitHub.of_this_job().upsert_comment(event["number"], MARKER, body)
    except GitHubError as error:
        print(f"preview-comment: {error}", file=sys.stderr)
        return 2
    print(f"comment {done}; {len(problems)} problem(s)")
    return 1 if problems else 0


def section(stack: str, record: Path, pull_request: PullRequest, *, allowed: bool, room: int) -> Section:
    """Return the part about one environment, of at most `room` characters."""
    heading = f"### {stack}"
    try:
        plan = load(record)
    except RecordError as error:
        return Section(f"{heading}\n\n:x: {error}", f"{stack}: {error}")
    if plan.errors:
        text = _fenced("\n\n".join(plan.errors), "text", room // 2)
        return Section(f"{heading}\n\n:x: The preview failed.\n\n{text}", f"{stack}: the preview failed")
    changes = _changes(plan, room // 3)
    try:
        rendered = render(plan, pull_request)
    except PreviewError as error:
        text = f"{heading}\n\n:x: The manifests cannot be rendered.\n\n{_fenced(str(error), 'text', room // 3)}"
        return Section(f"{text}\n\n{changes}", f"{stack}: the manifests cannot be rendered")
    parts = [heading, rendered.effect]
    problem = ""
    if plan.destroyed:
        named = [f"{change.operation} {change.name}" for change in plan.destroyed]
        names = ", ".join(named[:NAMES]) + (f" and {len(named) - NAMES} more" if len(named) > NAMES else "")
        cure = f"Allowed by the label `{LABEL}`." if allowed else f"Add the label `{LABEL}` if that is meant."
        parts.append(f":warning: **Destroys**: {names}. {cure}")
        problem = "" if allowed else f"{stack}: would {names} without the label {LABEL}"
    return Section("\n\n".join([*parts, changes, _synced(rendered, room // 3)]), problem)


def comment(sections: list[str], problems: list[str], head: str) -> str:
    """Return the whole comment."""
    state = ":x: " + "; ".join(problems) if problems else ":white_check_mark: Nothing here needs a label."
    return "\n\n".join([f"{MARKER}\n## Preview of {head[:12]}", state, *sections]) + "\n"


def _changes(plan: PreviewPlan, room: int) -> str:
    if not plan.changes:
        return f"`pulumi up` changes nothing ({plan.unchanged} objects)."
    listed = _fenced("\n".join(_line(change) for change in plan.changes), "text", room)
    return f"`pulumi up` changes {len(plan.changes)} of {len(plan.changes) + plan.unchanged} objects:\n\n{listed}"


def _line(change: Change) -> str:
    kind = change.type.rpartition(":")[2]
    line = f"{change.symbol:<2} {change.operation:<8} {kind} {change.name}"
    if change.rerun:
        line += "  (the evaluation)"
    elif change.kept and change.operation in {"delete", "replace"}:
        line += "  (nothing in the cluster is deleted)"
    if change.reasons:
        return f"{line}  because of {', '.join(change.reasons)}"
    return f"{line}  {', '.join(change.paths)}" if change.operation == "update" and change.paths else line


def _synced(rendered: Rendered, room: int) -> str:
    if not rendered.diff:
        return "Argo CD syncs the same objects as before."
    return f"<details><summary>What Argo CD syncs</summary>\n\n{_fenced(rendered.diff, 'diff', room)}\n\n</details>"


def _fenced(text: str, language: str, room: int) -> str:
    if len(text) > room:
        text = text[: text.rfind("\n", 0, room) if "\n" in text[:room] else room] + "\n… cut here"
    # A fence longer than any in the text: what a pull request changes cannot close it.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def _one_line(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _summary(text: str) -> None:
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--stacks", type=_stacks, default=[], metavar="JSON", help='list of environments, such as ["dev", "prod"]')
    add("--records", type=Path, default=Path("out/preview"), help="folder with STACK.json (default: %(default)s)")
    add("--repository", type=Path, default=Path(), help="clone with full history")
    add("--base", default="", help="commit before the merge (default: the event's)")
    add("--head", default="", help="commit after the merge (default: the event's head)")
    add("--no-secrets", action="store_true", help="only say why there is no preview")
    return parser


def _stacks(text: str) -> list[str]:
    parsed: Any = json.loads(text)
    if not isinstance(parsed, list) or not all(
        isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) for name in parsed
    ):
        raise argparse.ArgumentTypeError(f'{text!r} must be a JSON list of stack names, such as ["dev", "prod"]')
    return parsed


if __name__ == "__main__":
    sys.exit(main())
