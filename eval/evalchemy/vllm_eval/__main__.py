"""``python -m vllm_eval`` is ``vllm-eval``."""

import sys

from vllm_eval.cli import main

if __name__ == "__main__":
    sys.exit(main())
