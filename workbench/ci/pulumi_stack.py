"""Preview or update one stack in CI.

`preview` writes what `pulumi preview --json` said into a file and succeeds even
when the preview does not: `preview_comment.py` judges all stacks together.
`up` runs `pulumi up` and ends with its exit code.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

LOG_CHARACTERS: Final = 4000


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("preview", "up"))
    parser.add_argument("--stack", required=True)
    parser.add_argument("--stacks", default="", help="JSON list of the stacks that there are; one beside it is refused")
    parser.add_argument("--output", type=Path, help="file for the preview")
    options = parser.parse_args(arguments)
    if options.command == "preview" and options.output is None:
        parser.error("preview needs --output FILE")
    if options.stacks and options.stack not in json.loads(options.stacks):
        print(f"pulumi-stack: {options.stack!r} is not in PULUMI_STACKS, which is {options.stacks}", file=sys.stderr)
        return 2
    if not os.environ.get("PULUMI_BACKEND_URL") and not os.environ.get("PULUMI_ACCESS_TOKEN"):
        message = (
            "no state backend: set the variable PULUMI_BACKEND_URL (s3://…, gs://…, azblob://…) or, for Pulumi Cloud,"
            f" PULUMI_ORGANIZATION, for the environment of {options.stack} (docs/ci.md)"
        )
        if options.command == "up":
            print(f"pulumi-stack: {message}", file=sys.stderr)
            return 2
        _write(options.output, {"stack": options.stack, "exit_code": 2, "plan": None, "log": message})
        return 0
    if options.command == "preview":
        _write(options.output, preview(options.stack))
        return 0
    command = ["pulumi", "up", "--yes", "--non-interactive", "--stack", options.stack]
    return subprocess.run(command, check=False).returncode


def preview(stack: str) -> dict[str, object]:
    """Return what a preview said: its exit code, the plan if there is one, and the end of its log."""
    # --show-sames: the Application's patches are needed even when they do not change.
    command = ["pulumi", "preview", "--json", "--show-sames", "--non-interactive", "--stack", stack]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        plan = json.loads(done.stdout)
    except json.JSONDecodeError:
        plan = None
    log = done.stderr if plan is not None else f"{done.stdout}\n{done.stderr}"
    print(done.stderr, file=sys.stderr, end="")
    return {"stack": stack, "exit_code": done.returncode, "plan": plan, "log": log.strip()[-LOG_CHARACTERS:]}


def _write(path: Path, record: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"{record['stack']}: pulumi preview ended with {record['exit_code']}")


if __name__ == "__main__":
    sys.exit(main())
