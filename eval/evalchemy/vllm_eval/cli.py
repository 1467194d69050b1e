"""The command line, ``vllm-eval COMMAND``; `vllm-eval --help` lists the commands."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vllm_eval import commands, errors, page_commands
from vllm_eval.pages.words import LANGUAGES
from vllm_eval.secrets import Redactor

log = logging.getLogger(__name__)

_CODES = """exit codes:
  0    every task has a score, and all is published
  2    bad input: configuration, models, tasks, key, address
  3    the endpoint or other infrastructure failed; a retry may help
  4    answers came, but do not support a score
  5    the deadline passed
  6    worse than the baseline (only with --gate)
  7    the Pushgateway took nothing; results are kept
  130  stopped by Ctrl-C
  143  stopped by SIGTERM; the next attempt goes on from the recorded answers

if tasks fail for several reasons, the first of 3, 5, 2, 4 wins, since a retry may heal 3;
7 wins over 0, 4 and 6, so that publishing is tried again, and gives way to 3, 5 and 2;
6 needs a score of every task. A list of models has one pod, and one exit code, for each.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
    redactor = Redactor()
    _set_up_logging(redactor, verbose=options.verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(options.command(options, redactor))
    except errors.VllmEvalError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is made for people, a traceback is not
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    root = argparse.ArgumentParser(
        prog="vllm-eval",
        description="Evaluate a served model and publish scores that can be trusted.",
        epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--verbose", action="store_true", help="log more")
    subparsers = root.add_subparsers(required=True, metavar="COMMAND")
    _run_parser(subparsers)
    _reading_parsers(subparsers)
    _page_parsers(subparsers)
    _publish_parser(subparsers)
    _validate_parser(subparsers)
    _tasks_parser(subparsers)
    _bundle_parser(subparsers)
    return root


def _run_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = subparsers.add_parser(
        "run", help="evaluate one model", epilog=_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run.set_defaults(command=commands.run)
    model = run.add_argument_group("model", "without these: the list of models, or MODEL_* of the environment")
    model.add_argument("--endpoint", help="base URL of the OpenAI API, with /v1 (MODEL_ENDPOINT)")
    model.add_argument("--model", help="name of the model, the label `model` (MODEL_NAME)")
    model.add_argument("--tag", help="label `model_tag` (MODEL_TAG)")
    model.add_argument("--served-name", help="model id that the endpoint serves, if it is not the name")
    model.add_argument("--api", choices=("completions", "chat"), help="which API to ask (default: completions)")
    model.add_argument("--concurrency", type=_positive, help="requests in flight (default: 8)")
    _config_options(run)
    run.add_argument("--data", help="a bundle: folder, fsspec URL or oci://REGISTRY/NAME:TAG (VLLM_EVAL_DATA)")
    _store_options(run)
    run.add_argument("--pushgateway", help="URL of the Pushgateway (VLLM_EVAL_PUSHGATEWAY)")
    run.add_argument("--gate", action="store_true", default=None, help="exit 6 when a task is worse than its baseline")
    run.add_argument("--force", action="store_true", default=None, help="evaluate even what did not change")


def _reading_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = subparsers.add_parser("report", help="show the scores of a results folder and the wrong answers")
    report.set_defaults(command=commands.report)
    _store_options(report)
    report.add_argument("--model", help="only this model")
    report.add_argument("--run", help="this run instead of the last one")
    report.add_argument("--task", help="only this task")
    report.add_argument("--wrong", type=int, default=10, metavar="N", help="wrong answers to show of each task")
    report.add_argument(
        "--html", metavar="FILE", help="write one run's page for a browser instead; - is standard output"
    )
    _language_option(report)
    report.add_argument(
        "--against", metavar="RUN", help="show the page's answers beside this run's, not the baseline's"
    )

    compare = subparsers.add_parser("compare", help="compare a run with its baseline or with another run")
    compare.set_defaults(command=commands.compare)
    _store_options(compare)
    compare.add_argument("--model", help="which model, if the folder holds several")
    compare.add_argument("--run", help="the run to judge (default: the last)")
    compare.add_argument("--baseline", help="the run to compare it with (default: the pinned baseline)")
    compare.add_argument("--gate", action="store_true", help="exit 6 when a task is worse")

    accept = subparsers.add_parser("accept", help="make a run the baseline of its model, on a laptop")
    accept.set_defaults(command=commands.accept)
    _store_options(accept)
    accept.add_argument("--model", help="which model, if the folder holds several")
    accept.add_argument("--run", help="the run to accept (default: the last)")


def _page_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fetch = subparsers.add_parser(
        "fetch", help="copy the last runs' reports and results out of a results folder or bucket, to read them here"
    )
    fetch.set_defaults(command=page_commands.fetch)
    _store_options(fetch)
    fetch.add_argument("--to", default="results", metavar="FOLDER", help="where to (default: results)")
    fetch.add_argument("--model", help="only this model")
    fetch.add_argument("--last", type=_positive, default=5, metavar="N", help="runs of each model (default: 5)")
    _language_option(fetch)
    fetch.add_argument("--answers", action="store_true", help="also the answers, for `report` and `compare`")

    serve = subparsers.add_parser("serve", help="serve the reports of a results folder or bucket, read-only")
    serve.set_defaults(command=page_commands.serve)
    serve.add_argument("--out", dest="results", help="results folder or fsspec URL (VLLM_EVAL_RESULTS)")
    serve.add_argument("--address", default="127.0.0.1", help="where to listen (default: 127.0.0.1); * is everywhere")
    serve.add_argument("--port", type=_positive, default=8080, help="port (default: 8080)")


def _publish_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    publish = subparsers.add_parser("publish", help="publish what a results folder holds, for example after an outage")
    publish.set_defaults(command=commands.publish)
    _store_options(publish)
    publish.add_argument("--pushgateway", help="URL of the Pushgateway (VLLM_EVAL_PUSHGATEWAY)")


def _validate_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    validate = subparsers.add_parser(
        "validate", help="check configuration, tasks and data, and score every task once without a model"
    )
    validate.set_defaults(command=commands.validate)
    _config_options(validate)
    validate.add_argument("--data", help="a bundle: folder, fsspec URL or oci://REGISTRY/NAME:TAG (VLLM_EVAL_DATA)")
    validate.add_argument(
        "--no-data", action="store_true", help="judge tasks whose data is elsewhere by their names alone"
    )
    validate.add_argument("--models-file", type=Path, help="check this list of models as well")


def _tasks_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tasks = subparsers.add_parser("tasks", help="list lm_eval's tasks that can run here, and why the others cannot")
    tasks.set_defaults(command=commands.tasks)
    tasks.add_argument("pattern", nargs="?", metavar="PATTERN", help="part of a name, *, ? or the name of a group")
    tasks.add_argument("--refused", action="store_true", help="list also what cannot run, each with its reason")


def _bundle_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bundle = subparsers.add_parser(
        "bundle",
        help="fetch tasks' data from the hub into a bundle, for runs without internet",
        description="Fetch the items of tasks, and write them with a manifest that says where each is from. "
        "A gated data set stays under its owner's terms: keep a bundle private.",
    )
    bundle.set_defaults(command=commands.bundle)
    bundle.add_argument("names", nargs="+", metavar="TASK", help="a task, or a group or tag of tasks")
    bundle.add_argument("--out", required=True, help="folder, fsspec URL, or oci://REGISTRY/NAME:TAG")
    bundle.add_argument("--fewshot", action="store_true", help="few-shot items also of tasks that ask no examples")
    bundle.add_argument(
        "--revision",
        action="append",
        default=[],
        metavar="TASK=REVISION",
        help="commit, tag or branch of a task's data",
    )
    bundle.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    bundle.add_argument("--tasks", type=Path, help="folder of task YAML files of your own")


def _config_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, help="eval_config.json (VLLM_EVAL_CONFIG)")
    command.add_argument("--tasks", type=Path, help="folder of task YAML files (default: ../tasks beside the config)")
    command.add_argument("--limit", type=_positive, help="at most so many items a task, in file order")


def _store_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", dest="results", help="results folder or fsspec URL (VLLM_EVAL_RESULTS)")
    command.add_argument("--stack", help="label `stack` (VLLM_EVAL_STACK)")


def _language_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--language", choices=LANGUAGES, help="of the pages (VLLM_EVAL_LANGUAGE; default: en)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 (got {text!r})")
    return int(text)


def _set_up_logging(redactor: Redactor, *, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(redactor)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vllm_eval").setLevel(logging.DEBUG if verbose else logging.INFO)


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
    raise errors.Terminated
