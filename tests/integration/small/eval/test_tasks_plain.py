"""lm_eval itself runs our tasks, offline and from any folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.openai_server import OpenAIServer, Plan, load_answers, running
from tests.support.workspace import EVAL, TASKS, shipped_items


def test_plain_lm_eval_runs_both_offline_from_any_folder(tmp_path: Path) -> None:
    """No network, no copy of the data left in a cache; a third of the answers wrong by the server's own count."""
    server = OpenAIServer(load_answers(sorted((EVAL / "data").glob("*.jsonl"))), Plan(accuracy=0.66))
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "HOME": str(tmp_path),
    }
    with running(server) as url:
        command = [
            sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
            "--model_args", f"base_url={url}/completions,model=fake-model,tokenizer_backend=None,num_concurrent=8",
            "--tasks", ",".join(TASKS), "--include_path", str(EVAL / "tasks"),
            "--output_path", str(tmp_path / "out"), "--log_samples", "--limit", "60",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **offline}, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").rglob("results_*.json")
    results = json.loads(file.read_text())
    for task in TASKS:
        (samples_file,) = (tmp_path / "out").rglob(f"samples_{task}_*.jsonl")
        samples = [json.loads(line) for line in samples_file.read_text(encoding="utf-8").splitlines()]
        assert sorted(sample["doc"]["id"] for sample in samples) == [row["id"] for row in shipped_items(task)[:60]]
        right = sum(sample["filtered_resps"][0] == sample["doc"]["answer"] for sample in samples)
        assert results["results"][task]["exact_match,none"] == right / 60
        assert 25 < right < 55
        assert results["n-samples"][task] == {"original": 500, "effective": 60}
        assert len(samples[0]["arguments"]["gen_args_0"]["arg_0"]) < 620
    assert not list(tmp_path.glob("hf/datasets/**/*.arrow"))
