"""What the verdicts are worth, with many seeds.

``python -m tests.bench.bench_statistics`` (ten minutes
of one core) prints false alarms a year, power, the fate of ten successive small
drops, how error bars fit, and how long a comparison takes. Ends with 1 if a
goal is missed. ``--years`` sets the number of simulated years of 100 series.
"""

import argparse
import statistics
import sys
import time

import numpy as np

from tests.support.simulated_samples import Asked
from tests.support.simulated_samples import false_alarms as samples_alarms
from tests.support.simulated_samples import power as samples_power
from tests.support.simulated_scores import CELLS, Cell, false_alarms, power, task_score, ten_drops
from vllm_eval.compare import BASELINE_RUNS, compare, pinned_baseline
from vllm_eval.stats import significance_level, standard_error, wilson_interval

SEED = 7
# Low enough to tell, high enough to be met often in a simulation.
LEVEL = 0.01
GREEDY, SAMPLED = Cell(0.8, 500, sampled=False), Cell(0.8, 500, sampled=True)
GOAL_ALARMS, GOAL_POWER = 1.0, 0.95


def report_false_alarms(years: int, baseline_runs: int) -> float:
    """Print the false alarms of each cell; return the mean of the worst."""
    print(f"False `worse` verdicts in {years} years of 100 unchanged series, daily, {baseline_runs} baseline runs")
    means = []
    for index, cell in enumerate(CELLS):
        counts = [
            false_alarms(cell, np.random.default_rng([SEED, index, year]), baseline_runs) for year in range(years)
        ]
        means.append(statistics.fmean(counts))
        error = statistics.stdev(counts) / len(counts) ** 0.5 if years > 1 else float("nan")
        more = sum(count > 1 for count in counts) / years
        print(f"  {cell!s:18} {means[-1]:5.2f} ± {error:.2f} a year; most {max(counts)}; {more:.0%} of years have two")
    return max(means)


def report_power(baselines: int) -> float:
    """Print the power at several drops; return the least at 15 % with 500 items."""
    print("\nShare of runs called `worse` after a true drop from 0.8")
    least = 1.0
    for baseline_runs in (1, 5, BASELINE_RUNS):
        for cell in (GREEDY, Cell(0.8, 100, sampled=False), SAMPLED, Cell(0.8, 100, sampled=True)):
            row = []
            for drop in (0.10, 0.15, 0.20, 0.30):
                rng = np.random.default_rng([SEED, baseline_runs, cell.n, cell.sampled, round(100 * drop)])
                row.append(power(cell, rng, drop, baselines=baselines, runs=10, baseline_runs=baseline_runs))
            if cell.n == 500 and baseline_runs == BASELINE_RUNS:
                least = min(least, row[1])
            shares = "  ".join(
                f"{drop}: {share:.3f}" for drop, share in zip(("10 %", "15 %", "20 %", "30 %"), row, strict=True)
            )
            print(f"  {baseline_runs:2} baseline runs, {cell!s:16} {shares}")
    return least


def report_ten_drops(times: int) -> float:
    """Print how often ten drops of 2 % are called by the last; return the least with a pinned baseline."""
    print("\nTen successive drops of 2 %: called by the last")
    least = 1.0
    for cell in (GREEDY, SAMPLED, Cell(0.8, 100, sampled=False)):
        for same_tag in (False, True):
            called = sum(
                ten_drops(cell, np.random.default_rng([SEED, seed]), same_tag=same_tag) for seed in range(times)
            )
            when = "from the second run on, under the baseline's tag" if same_tag else "after the baseline is complete"
            print(f"  {cell!s:18} {when:50} {called / times:.3f}")
            if cell.n == 500 and not same_tag:
                least = min(least, called / times)
    return least


def report_error_bars(runs: int) -> bool:
    """Print how error bars fit what scores do; return whether they do."""
    print("\nError bars: standard deviation of the score over runs, mean standard error, coverage of Wilson's 95 %")
    fit = True
    for cell in (cell for cell in CELLS if cell.sampled):
        answers = cell.runs(np.random.default_rng([SEED, cell.n]), runs)
        right = [int(count) for count in answers.sum(axis=1)]
        spread = statistics.pstdev(count / cell.n for count in right)
        errors = [standard_error([1.0] * count + [0.0] * (cell.n - count)) or 0.0 for count in right]
        covered = (
            sum(low <= cell.score <= high for low, high in (wilson_interval(count, cell.n) for count in right)) / runs
        )
        error = statistics.fmean(errors)
        print(f"  {cell!s:18} {spread:.4f}  {error:.4f}  {covered:.3f}")
        fit = fit and abs(error / spread - 1) < 0.06 and 0.92 < covered < 0.98
    return fit


def report_samples(times: int) -> float:
    """Print what repeated answers tell, and what counting each for itself would; return the most false alarms."""
    print(f"\nn answers to each item: false alarms at the level {LEVEL}, by the items' counts / answer by answer,")
    print("and the share called worse after a true drop from 0.5 at the level of 100 series")
    least = significance_level(100)
    most = 0.0
    for items in (30, 100, 500):
        for samples in (1, 4, 8, 16):
            row = []
            for shared in (False, True):
                asked = Asked(items, samples, shared)
                rng = np.random.default_rng([SEED, items, samples, shared])
                ours, others = samples_alarms(asked, rng, times, LEVEL)
                most = max(most, ours)
                few = max(times // 10, 20)
                found = [samples_power(asked, rng, few, least, drop) for drop in (0.15, 0.30)]
                noise = "shared" if shared else "independent"
                row.append(f"{noise} {ours:.3f}/{others:.3f}, 15 %: {found[0]:.2f}, 30 %: {found[1]:.2f}")
            print(f"  {items:3} items x {samples:2}  {'   '.join(row)}", flush=True)
    return most


def report_speed() -> None:
    """Print how long a comparison takes."""
    print("\nSeconds to choose a baseline of 10 runs, and to compare")
    for n in (500, 20_000):
        cell = Cell(0.8, n, sampled=True)
        rng = np.random.default_rng(SEED)
        runs = [task_score(run) for run in cell.runs(rng, BASELINE_RUNS)]
        start = time.perf_counter()
        pinned = pinned_baseline(runs)
        chosen = time.perf_counter()
        compare(task_score(cell.runs(rng, 1)[0]), pinned, series=100)
        print(f"  {n:6} items  {chosen - start:.3f}  {time.perf_counter() - chosen:.3f}")


def main(arguments: list[str]) -> int:
    """Run everything; 0 if all goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=20, help="simulated years of 100 series for each cell")
    parser.add_argument(
        "--baseline-runs", type=int, default=BASELINE_RUNS, help="for the false alarms: another baseline"
    )
    options = parser.parse_args(arguments)
    alarms = report_false_alarms(options.years, options.baseline_runs)
    least_power = report_power(baselines=50 * options.years)
    drops = report_ten_drops(times=20 * options.years)
    fit = report_error_bars(runs=2000)
    repeated = report_samples(times=50 * options.years)
    report_speed()
    goals = {
        f"at most {GOAL_ALARMS:g} false alarm a year in the mean of any cell ({alarms:.2f})": alarms <= GOAL_ALARMS,
        f"15 % from 0.8 with 500 items called in {GOAL_POWER:.0%} ({least_power:.3f})": least_power >= GOAL_POWER,
        f"ten drops of 2 % called by the last ({drops:.3f})": drops >= GOAL_POWER,
        "error bars fit": fit,
        f"at most {1.5 * LEVEL:.1%} of unchanged repeated runs called low at {LEVEL:.0%} ({repeated:.3f})": (
            repeated <= 1.5 * LEVEL + 3 * (LEVEL / (50 * options.years)) ** 0.5
        ),
    }
    print()
    for goal, met in goals.items():
        print(f"{'met' if met else 'MISSED'}: {goal}")
    return 0 if all(goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
