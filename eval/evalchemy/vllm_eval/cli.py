"""The command line: ``vllm-eval run | ...``."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vllm_eval import errors
from vllm_eval.models import select_model
from vllm_eval.report import summary
from vllm_eval.runner import Runner
from vllm_eval.secrets import Redactor
from vllm_eval.settings import load_settings

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    redactor = Redactor()
    _set_up_logging(redactor, verbose=options.verbose)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return int(options.command(options, redactor))
    except errors.VllmEvalError as error:
        log.error("%s", error)  # noqa: TRY400 - the message is made for people, a traceback is not
        return error.exit_code


def _run(options: argparse.Namespace, redactor: Redactor) -> int:
    settings = load_settings(os.environ, vars(options))
    single = {
        key: value
        for key, value in (
            ("endpoint", options.endpoint), ("name", options.model), ("tag", options.tag), ("api", options.api),
            ("served_name", options.served_name), ("concurrency", options.concurrency),
        )
        if value is not None
    }  # fmt: skip
    selection = select_model(settings.models_file, os.environ, single)
    runner = Runner(settings, selection, redactor, fallback_key=os.environ.get("OPENAI_API_KEY"))
    report = runner.run()
    sys.stdout.write(summary(report.run))
    sys.stdout.flush()
    if report.error is None:
        return 0
    log.error("%s", report.error)
    return report.error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vllm-eval", description="Evaluate a served model and publish scores that can be trusted.", epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="evaluate one model", epilog=_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run.set_defaults(command=_run)
    run.add_argument("--endpoint", help="base URL of the OpenAI API, with /v1 (MODEL_ENDPOINT)")
    run.add_argument("--model", help="name of the model, the label `model` (MODEL_NAME)")
    run.add_argument("--tag", help="label `model_tag` (MODEL_TAG)")
    run.add_argument("--served-name", help="model id that the endpoint serves, if it is not the name")
    run.add_argument("--api", choices=("completions", "chat"), help="which API to ask (default: completions)")
    run.add_argument("--concurrency", type=int, help="requests in flight (default: 8)")
    run.add_argument("--config", type=Path, help="eval_config.json (VLLM_EVAL_CONFIG)")
    run.add_argument("--tasks", type=Path, help="folder of task YAML files (default: ../tasks beside the config)")
    run.add_argument("--out", dest="results", help="results folder or fsspec URL (VLLM_EVAL_RESULTS)")
    run.add_argument("--limit", type=int, help="at most so many items a task, in file order (VLLM_EVAL_LIMIT)")
    run.add_argument("--pushgateway", help="URL of the Pushgateway (VLLM_EVAL_PUSHGATEWAY)")
    run.add_argument("--stack", help="label `stack` (VLLM_EVAL_STACK)")
    run.add_argument("--gate", action="store_true", default=None, help="exit 6 when a task is worse than its baseline")
    run.add_argument("--force", action="store_true", default=None, help="evaluate even what did not change")
    return parser


_CODES = """exit codes:
  0  every task has a score, and all is published
  2  bad input: configuration, models, tasks, key
  3  the endpoint or other infrastructure failed; a retry may help
  4  answers came, but do not support a score
  5  the deadline passed
  6  worse than the baseline (only with --gate)
  7  the Pushgateway took nothing; results are kept
  143  stopped by SIGTERM; the next attempt goes on from the recorded answers
"""


def _set_up_logging(redactor: Redactor, *, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(redactor)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("vllm_eval").setLevel(logging.DEBUG if verbose else logging.INFO)


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001 - the signature of a signal handler
    raise errors.Terminated
