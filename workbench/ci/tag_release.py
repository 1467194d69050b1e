"""Give the image that a release's manifest names the release's tag: `v1.2.0` is then the same in Git and registry.

The manifest at the tag names the image by digest, and a stack that follows the tag runs that one. So nothing is built.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from workbench.ci import job_manifest
from workbench.ci.job_manifest import FILE

TAG: Final = re.compile(r"v\d+\.\d+\.\d+")
REFERENCE: Final = re.compile(r"(?P<name>[^@]+?)(:[\w.-]+)?@(?P<digest>sha256:[0-9a-f]{64})")


def main(arguments: list[str] | None = None) -> int:
    """Tag the image; return 2 where the manifest names none by digest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tag", required=True, help="the release's tag, such as v1.2.0")
    parser.add_argument("--repository", type=Path, default=Path(), help="the clone at that tag (default: this folder)")
    options = parser.parse_args(arguments)
    if not TAG.fullmatch(options.tag):
        print(f"tag-release: --tag is {options.tag!r}: give one such as v1.2.0", file=sys.stderr)
        return 2
    recorded = job_manifest.read((options.repository / FILE).read_text(encoding="utf-8"))
    found = REFERENCE.fullmatch(recorded.image)
    if found is None:
        print(
            f"tag-release: {FILE} names {recorded.image}, by no digest: let image-build write one before the release",
            file=sys.stderr,
        )
        return 2
    return subprocess.run(["crane", "tag", f"{found['name']}@{found['digest']}", options.tag], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
