"""Start another workflow by `workflow_dispatch`.

A push made with the job's own token starts no workflow, and `[skip ci]` keeps
those of other tokens from doing so; what has to follow a write-back is started here.
The job needs `actions: write`.
"""

import argparse
import sys

from workbench.ci.github_api import GitHub, GitHubError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", help="file name below .github/workflows")
    parser.add_argument("--ref", default="main", help="branch (default: %(default)s)")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args(arguments)
    inputs: dict[str, str] = {}
    for pair in options.input:
        name, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--input {pair!r} must be NAME=VALUE")
        inputs[name] = value
    try:
        GitHub.of_this_job().start_workflow(options.workflow, options.ref, inputs)
    except GitHubError as error:
        print(f"start-workflow: {error}", file=sys.stderr)
        return 1
    print(f"started {options.workflow} on {options.ref}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
