"""The commands `fetch` and `serve`, which give people access to pages."""

import argparse
import logging
import os
from pathlib import Path

from vllm_eval.errors import RunSettingsError
from vllm_eval.fetch import RunFilter, fetch_runs
from vllm_eval.pages.serve import serve_pages
from vllm_eval.pages.words import Words
from vllm_eval.secrets import Redactor
from vllm_eval.settings import load_settings
from vllm_eval.storage import open_storage

log = logging.getLogger(__name__)


def fetch(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Copy the last runs' pages out of the store, into a folder."""
    settings = load_settings(os.environ, {"results": options.results, "language": options.language})
    source = open_storage(settings.results)
    wanted = RunFilter(options.stack, options.model, options.last, options.answers)
    target = Path(options.to)
    if source.local is not None and source.local.resolve() == target.resolve():
        raise RunSettingsError(f"--to {options.to!r} is the results folder itself; name another one")
    runs = fetch_runs(source, target, wanted, Words(settings.language))
    log.info("%d runs are in %s; open %s", runs, target, target / "index.html")
    return 0


def serve(options: argparse.Namespace, redactor: Redactor) -> int:  # noqa: ARG001 - all commands are called alike
    """Serve the pages of the store until the process is ended."""
    settings = load_settings(os.environ, {"results": options.results})
    serve_pages(open_storage(settings.results), options.address, options.port)
    return 0
