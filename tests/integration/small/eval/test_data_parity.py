"""Benchmarks that people run, from a bundle without network, are scored exactly as plain lm_eval scores them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import benchmarks
from tests.support.hub import running_hub
from tests.support.openai_server import OpenAIServer, running
from tests.support.workspace import Workspace
from vllm_eval import catalog

METRICS = {"ifeval": "prompt_level_strict_acc", "drop": "f1"}
NAMES = ("gsm8k", "ifeval", "kmmlu_direct", "mmlu_generative", "bbh", "minerva_math", "triviaqa", "drop")
LEAVES = {"kmmlu_direct": 45, "mmlu_generative": 57, "bbh": 27, "minerva_math": 7}


def run_plain(
    folder: Path, url: str, leaves: list[str], environ: dict[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run lm_eval's own command line; return its results by task, and the hashes of its items by task."""
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "local-completions",
        "--model_args", f"base_url={url}/completions,model=fake-model,tokenizer_backend=None,num_concurrent=8",
        "--tasks", ",".join(leaves), "--output_path", str(folder / "plain"), "--log_samples",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (folder / "plain").rglob("results_*.json")
    hashes = {
        path.name.removeprefix("samples_").rpartition("_")[0]: [row["doc_hash"] for row in benchmarks.lines(path)]
        for path in (folder / "plain").rglob("samples_*.jsonl")
    }
    return json.loads(file.read_text())["results"], hashes


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["leaves", "groups"])
def test_a_bundle_without_network_scores_as_lm_eval_does_with_its_hub(tmp_path: Path, *, whole: bool) -> None:
    """Of each group two leaves; all leaves where minutes do not matter."""
    groups = {name: catalog.members(name) for name in NAMES}
    assert {name: len(groups[name]) for name in LEAVES} == LEAVES
    leaves = [leaf for members in groups.values() for leaf in (members if whole else members[:2])]
    benchmarks.write_punkt(tmp_path / "nltk")
    server = OpenAIServer({})
    server.reply = lambda body, _: {
        "choices": [{"index": 0, "text": benchmarks.reply(body["prompt"]), "finish_reason": "stop"}]
    }
    workspace = Workspace(tmp_path / "ours")
    workspace.configure({leaf: {"metric": METRICS.get(leaf, "exact_match"), "max_empty_share": 1} for leaf in leaves})
    base = {**os.environ, "NLTK_DATA": str(tmp_path / "nltk")}
    with running_hub() as hub, running(server) as url:
        benchmarks.publish(hub, benchmarks.sets_of(leaves))
        online = {**base, **hub.environ(tmp_path / "cache")}
        bundle = [
            sys.executable,
            "-m",
            "vllm_eval",
            "bundle",
            *(NAMES if whole else leaves),
            "--out",
            str(tmp_path / "bundle"),
        ]
        made = subprocess.run(bundle, env=online, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        results, hashes = run_plain(tmp_path, url, leaves, online)
        hub.asked.clear()
        workspace.set_models(workspace.model(url, api="completions"))
        process = workspace.start(
            "run", VLLM_EVAL_DATA=str(tmp_path / "bundle"), NLTK_DATA=base["NLTK_DATA"], HF_HUB_OFFLINE="1",
            HF_HOME=str(tmp_path / "empty"), VLLM_EVAL_REQUEST_TIMEOUT_SECONDS="30",
        )  # fmt: skip
        _, said = process.communicate(timeout=600)
        assert process.returncode == 0, said[-3000:]
        assert hub.asked == [], "a bundle needs no hub"
    run = workspace.last()
    assert list(run.tasks) == leaves
    for leaf, task in run.tasks.items():
        wanted = {key: value for key, value in results[leaf].items() if "," in key and "_stderr" not in key}
        ours: dict[str, float | None] = {f"{score.metric},{score.filter}": score.value for score in task.scores}
        ours[f"{task.metric},{task.filter}"] = task.score
        assert ours == wanted, leaf
        samples = workspace.store.samples(run, leaf) or []
        assert [sample.item.partition("-")[2] for sample in samples] == [
            text[:12] for text in hashes[leaf][: len(samples)]
        ]
    scores = [task.score for task in run.tasks.values() if task.score is not None]
    assert 0 < sum(scores) / len(scores) < 1
