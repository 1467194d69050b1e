"""What keeps lm_eval and datasets off the network and inside the temporary folder."""

import os
from pathlib import Path


def set_environment() -> None:
    """Keep lm_eval and datasets offline and inside the temporary folder, unless told otherwise."""
    cache = Path(os.environ.get("TMPDIR", "/tmp")) / "vllm-eval-cache"  # noqa: S108 - the pod's only writable place
    for variable, value in (
        ("HF_HOME", str(cache)),
        ("HF_HUB_OFFLINE", "1"),
        ("HF_DATASETS_OFFLINE", "1"),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("LM_HARNESS_CACHE_PATH", str(cache / "lm_eval")),
        ("TQDM_DISABLE", "1"),
        ("MPLCONFIGDIR", str(cache)),
    ):
        os.environ.setdefault(variable, value)
