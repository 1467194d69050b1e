"""Tell a workflow whether the expensive end-to-end suite has anything to test.

Writes `e2e=true` or `e2e=false` to GITHUB_OUTPUT: false when nothing but prose
changed between --base and HEAD. Anything that is not known for sure is true.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

PROSE: Final = re.compile(r"docs/.*|[^/]+\.md|LICENSE|\.github/ISSUE_TEMPLATE/.*")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="commit to compare with")
    base = parser.parse_args(arguments).base
    listed = subprocess.run(
        ["git", "diff", "--name-only", f"{base}...HEAD"], capture_output=True, text=True, check=False
    )
    # A first push has no base, and a forced one a base that is gone.
    files = listed.stdout.splitlines() if listed.returncode == 0 else []
    needed = not files or any(not PROSE.fullmatch(name) for name in files)
    line = f"e2e={str(needed).lower()}"
    print(line)
    if path := os.environ.get("GITHUB_OUTPUT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
