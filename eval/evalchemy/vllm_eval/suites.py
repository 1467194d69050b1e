"""How long each suite takes and how small a drop it shows.

From the numbers of items alone, so that the table needs no data and no model.
`make generate` writes it between two comments of docs/suites.md.
"""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Final

from vllm_eval.compare import BASELINE_RUNS
from vllm_eval.config import TaskSettings, load_config
from vllm_eval.metrics import PRACTICAL_DROP
from vllm_eval.stats import significance_level

BEGIN, END = "<!-- made by vllm_eval.suites -->", "<!-- end -->"
REQUESTS_PER_SECOND: Final = 10
# The figures are for this score and for a run that is called worse four times in five.
SCORE: Final = 0.7
POWER: Final = 0.8
# Of greedy answers, batching turns as many from one run to the next (compare.py).
FLIPS: Final = 0.02


@dataclass(frozen=True)
class ItemCounts:
    """How many items a task or group has: in all, in how many tasks, and in the smallest of them."""

    total: int
    tasks: int = 1
    smallest: int = 0

    def asked(self, limit: int | None) -> int:
        """Return how many are asked.

        Raises
        ------
        ValueError
            The limit cuts some tasks of a group and not others, whose sizes are not in the table.
        """
        if limit is None:
            return self.total
        if self.tasks == 1:
            return min(limit, self.total)
        if limit > self.smallest:
            raise ValueError(f"a limit of {limit} is above the smallest task's {self.smallest} items")
        return limit * self.tasks


# Of the split that lm_eval asks, as the cards of the data sets on the hub state them.
ITEMS: Final = {
    "aime24": ItemCounts(30),  # Maxwell-Jia/AIME_2024
    "aime25": ItemCounts(30),  # math-ai/aime25
    "bbh": ItemCounts(6511, 27, 146),  # SaylorTwift/bbh
    "bbh_cot_zeroshot": ItemCounts(6511, 27, 146),
    "click": ItemCounts(1995, 11),  # EunsuKim/CLIcK
    "drop": ItemCounts(9536),  # EleutherAI/drop, validation
    "gsm8k": ItemCounts(1319),  # openai/gsm8k
    "gsm8k_cot": ItemCounts(1319),
    "haerae": ItemCounts(1091, 5, 153),  # HAERAE-HUB/HAE_RAE_BENCH
    "hrm8k": ItemCounts(8011, 5, 470),  # HAERAE-HUB/HRM8K
    "ifeval": ItemCounts(541),  # google/IFEval
    "kmmlu_direct": ItemCounts(35030, 45, 100),  # HAERAE-HUB/KMMLU
    "kormedmcqa": ItemCounts(3009, 4, 435),  # sean0042/KorMedMCQA
    "minerva_math500": ItemCounts(500),  # HuggingFaceH4/MATH-500
    "mmlu_generative": ItemCounts(14042, 57, 100),  # cais/mmlu
    "mmlu_pro": ItemCounts(12032, 14, 381),  # TIGER-Lab/MMLU-Pro
    "triviaqa": ItemCounts(17944),  # mandarjoshi/trivia_qa, rc.nocontext, validation
}


def smallest_drop(items: int, series: int, *, sampled: bool) -> float:
    """Return the smallest relative drop from ``SCORE`` that a comparison calls worse with chance ``POWER``.

    By the normal approximation, against a whole baseline. 1.0 and more: none.

    Parameters
    ----------
    items
        Items of the task.
    series
        How many scores the stack compares; the level allows for it.
    sampled
        Every item has the same chance in every run; else answers are greedy.
    """
    normal = NormalDist()
    certain, likely = normal.inv_cdf(1 - significance_level(series)), normal.inv_cdf(POWER)
    variance = SCORE * (1 - SCORE) if sampled else FLIPS
    noise = sqrt(variance * (1 + 1 / BASELINE_RUNS) / items)
    # A lost item is drawn from one wrong answer and the baseline's right ones.
    lost = 0 if sampled else certain**2 * BASELINE_RUNS / (BASELINE_RUNS + 1) ** 2 / items
    significant = lost / 2 + sqrt((lost / 2) ** 2 + ((certain + likely) * noise) ** 2)
    return max(float(PRACTICAL_DROP) + likely * noise / SCORE, significant / SCORE)


def table(configs: Path) -> str:
    """Return the table of all suites below a folder, one line a task or group."""
    rows = [
        f"| suite | asked | requests | minutes at {REQUESTS_PER_SECOND}/s | smallest drop, greedy | sampled |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for path in sorted(configs.glob("*.json")):
        enabled = load_config(path)
        counts = {name: ITEMS[name].asked(settings.limit) for name, settings in enabled.items()}
        total = sum(counts.values())
        rows.append(f"| **{path.stem}** | | {total:,} | {_minutes(total)} | | |")
        rows += [_row(name, settings, counts[name], len(enabled)) for name, settings in enabled.items()]
    return "\n".join(rows)


def _row(name: str, settings: TaskSettings, count: int, series: int) -> str:
    tasks = f"{ITEMS[name].tasks} tasks" if ITEMS[name].tasks > 1 else "all items"
    asked = f"{tasks}, {settings.limit} items each" if settings.limit and ITEMS[name].tasks > 1 else tasks
    if settings.limit and ITEMS[name].tasks == 1:
        asked = f"the first {settings.limit:,} items"
    drops = [smallest_drop(count, series, sampled=sampled) for sampled in (False, True)]
    shown = [f"{drop:.0%}" if drop < 1 else "none" for drop in drops]
    return f"| `{name}` | {asked} | {count:,} | {_minutes(count)} | {shown[0]} | {shown[1]} |"


def _minutes(requests: int) -> str:
    return f"{requests / REQUESTS_PER_SECOND / 60:.1f}"


def write(document: str, configs: Path) -> str:
    """Return the document with its table made anew."""
    before, _, rest = document.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(configs)}\n{END}{rest.partition(END)[2]}"
