"""A stand-in for Evalchemy's checkout that fails as the real one does: in silence.

It answers the command line of ``python -m eval.eval``, asks the endpoint over
the chat API, and writes results files of the shape that the real one (commit
6ed6741) writes: no sample counts, answers but not which of them are right, floats of numpy as plain numbers,
an exit code of 0 for nearly everything. ``mode`` is what goes wrong.
"""

import json
import sys
from pathlib import Path

COMMIT = "6ed674159b37f740f2353a86f596f49f6ac13c19"
ITEMS = 4
REPEATS = 10

_SCRIPT = """\
#!{python}
import json, os, sys, time, urllib.request
from pathlib import Path

mode = {mode!r}
options = dict(zip(sys.argv[3::2], sys.argv[4::2]))
assert sys.argv[1:3] == ["-m", "eval.eval"], sys.argv
model_args = dict(pair.split("=", 1) for pair in options["--model_args"].split(","))
assert options["--model"] == "openai-chat-completions" and options["--apply_chat_template"] == "True"
task, out = options["--tasks"], Path(options["--output_path"])
lines = Path("eval/chat_benchmarks/%s/data/%s" % (task, {data!r})).read_text().splitlines()
examples = [json.loads(line) for line in lines]
Path({seen!r}).write_text(json.dumps({{"argv": sys.argv, "environ": dict(os.environ)}}))

def ask(example, seed):
    body = {{"model": model_args["model"], "max_completion_tokens": int(options.get("--max_tokens", 32768)),
            "temperature": 0.7, "seed": seed, "stop": ["<|endoftext|>"],
            "messages": [{{"role": "user", "content": example["problem"]}}]}}
    request = urllib.request.Request(model_args["base_url"], json.dumps(body).encode(), {{
        "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}})
    with urllib.request.urlopen(request) as response:
        return json.load(response)["choices"][0]["message"]["content"] or ""

if mode == "hangs":
    time.sleep(600)
if mode == "crashes":
    sys.exit("AttributeError: 'OpenAIChatCompletion' object has no attribute 'model_args'")
repeats = 1 if task == "MATH500" else {repeats}
asked = examples[:2] if mode == "debug" else examples
try:
    runs = [[ask(example, seed) for example in asked] for seed in range(repeats)]
except Exception as error:
    # The real one logs, goes on, and writes an empty result with exit code 0.
    print("ERROR:lm-eval:Error in evaluation:", error)
    runs = None
results = {{}}
if runs is not None and mode != "empty":
    right = [sum(answer == example["answer"] for answer, example in zip(run, asked)) for run in runs]
    for example, outputs in zip(asked, zip(*runs)):
        example.update({{"model_output": outputs[0], "model_answer": outputs[0]}} if task == "MATH500" else
                       {{"model_outputs": outputs, "model_answers": outputs}})
    stats = [{{"repetition": turn + 1, "num_total": len(asked), "num_solved": solved}}
             for turn, solved in enumerate(right)]
    accuracy = sum(right) / (len(asked) * repeats)
    if task == "MATH500":
        results[task] = {{"examples": asked, "num_total": len(asked), "num_solved": right[0], "accuracy": accuracy}}
    else:
        results[task] = {{"examples": asked, "num_total": len(asked), "solved_avg": sum(right) / repeats,
                         "run_stats": stats, "accuracy_avg": accuracy, "accuracy_std_err": 0.01, "num_repeat": repeats}}
    if mode == "no metric":
        results[task].pop("accuracy_avg")
    if mode == "nan":
        results[task]["accuracy_avg"] = float("nan")
if mode == "not saved":
    print("WARNING:lm-eval:Could not save results aggregated")
    sys.exit(0)
folder = out / model_args["model"].replace("/", "__")
folder.mkdir(parents=True)
content = json.dumps({{"results": results, "config": {{"model": "openai-chat-completions"}}, "task_hashes": {{}}}})
(folder / "results_2026-01-01T00-00-00.json").write_text(content[:40] if mode == "torn" else content)
"""


def make_home(root: Path, answers: dict[str, str], *, mode: str = "good", task: str = "AIME24") -> Path:
    """Make a home of Evalchemy whose one benchmark asks the questions of ``answers``; gives its folder."""
    name = {"AIME24": "aime24.json", "MATH500": "math500.jsonl"}[task]
    data = root / "checkout" / "eval" / "chat_benchmarks" / task / "data" / name
    data.parent.mkdir(parents=True)
    items = [{"id": str(i), "problem": q, "answer": a} for i, (q, a) in enumerate(answers.items())]
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    (root / "checkout" / "eval" / "eval.py").write_text("")
    (root / "commit").write_text(f"{COMMIT}\n")
    python = root / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    seen = str(root / "seen.json")
    python.write_text(_SCRIPT.format(python=sys.executable, mode=mode, data=name, repeats=REPEATS, seen=seen))
    python.chmod(0o755)
    return root
