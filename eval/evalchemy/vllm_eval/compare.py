"""Whether a score is worse than its pinned baseline, or only luckier or unluckier.

What the baseline must hold
---------------------------
The baseline is the accepted run together with the runs that followed it, up to
``BASELINE_RUNS`` in all: those of the *same model tag*, each of them good, in
order of start, and none later than the first ``BASELINE_RUNS``. The caller
hands them, the accepted run first, to :func:`pinned_baseline`, which leaves out
what differs from the others (a fault that came under the same tag), and gives
the result to :func:`compare`. Until ten runs are there, fewer do. After that it
never changes: a maximum would be a lucky run by choice, and a baseline that
moves on would follow ten drops of 2 % without a word. Their samples must be
kept as long as they are the baseline.

Why more than one run
---------------------
Few false alarms in a stack of 100 series that are compared daily leave a level
of 1.4e-5 for each comparison (``stats.significance_level``). With one run as
the baseline, its own noise then hides a true drop of 15 % in half of all runs
of 500 sampled answers, and a lucky one raises several alarms in its year.
Measured by tests/bench/bench_statistics.py: the chance that a run is called
``worse`` after a true drop of 15 % from 0.8; and the false alarms of 100
unchanged series in a year, in the worst of 16 cells (scores 0.2 to 0.95, 100
and 500 items, flips and sampled), in the mean of 20 years and in the worst year.

=============  =========  =========  =========  =========  ============
baseline runs  flips      flips      sampled    sampled    false alarms
..             500 items  100 items  500 items  100 items  mean, most
=============  =========  =========  =========  =========  ============
1              1.00       0.004      0.52       0.007      0.90, 8
5              1.00       0.71       0.92       0.04       0.45, 3
10             1.00       0.91       0.954      0.06       0.55, 2
=============  =========  =========  =========  =========  ============

"Flips" is greedy decoding, where batching turns 2 % of the answers; "sampled"
is the hardest case, in which every item has the same chance in every run (the
0.954 is of 20,000 runs, standard error 0.003). A true drop of just 10 % is
called by four of ten runs of 500 items. 100 sampled answers cannot show 15 %;
such a comparison says ``inconclusive``, and the cure is more items or greedy
decoding. What a stricter level or a longer baseline would give and cost is in
docs/adr/false-alarms.md.

Ten drops of 2 %, each under a new tag, are called by the last (0.995 and more
with 500 items). If they come under the baseline's own tag, day after day from
its second run on, greedy ones are still called; of sampled ones the baseline
takes in a part, and the last is called in 57 of 100 cases.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from math import ceil, floor, isclose
from statistics import fmean
from typing import Final, Literal

from vllm_eval.metrics import PRACTICAL_DROP
from vllm_eval.reasons import Facts
from vllm_eval.stats import Exact, exchange, significance_level, two_proportions
from vllm_eval.strata import Stratum, exchange_means

Verdict = Literal["better", "same", "worse", "inconclusive", "no_baseline"]
Method = Literal["paired", "two_proportions"]

# Verdicts that hold until the next one of these, or until a baseline is accepted.
DECISIVE: Final[frozenset[Verdict]] = frozenset({"better", "same", "worse"})
BASELINE_RUNS: Final = 10
# A run that is lower at this level is not called "same", so that one lucky run
# does not end a regression that is there.
DOUBT_LEVEL: Final = 0.05
# A run joins the baseline unless it differs from it at this level, in either
# direction: leaving out only the low ones would make a lucky baseline, and a
# wider net (0.05) doubled the false alarms in simulation.
OUTLIER_LEVEL: Final = 0.001


@dataclass(frozen=True, kw_only=True)
class TaskScore:
    """A task's score in one run.

    Parameters
    ----------
    task_hash, engine_version
        What must be equal for two scores to mean the same.
    n
        Items that were scored, at least 1.
    mean
        The score, 0..1.
    correct
        Item id to how many of its answers are right, 0 to ``samples`` (a bool
        where there is one answer); None where single items are not known, or
        their answers are neither right nor wrong.
    clusters
        Item id to what it shares with others (a passage); None: items are
        independent.
    samples
        Answers to each item.
    by_leaf
        The score of a group: the mean of its leaves' means, and not of the
        items, which are named LEAF/ITEM.

    Raises
    ------
    ValueError
        The numbers contradict each other.
    """

    task_hash: str
    engine_version: str
    n: int
    mean: float
    correct: Mapping[str, int] | None = None
    clusters: Mapping[str, str] | None = None
    samples: int = 1
    by_leaf: bool = False

    def __post_init__(self) -> None:
        if self.n < 1 or self.samples < 1 or not 0 <= self.mean <= 1:
            raise ValueError(f"a score needs n, samples >= 1 and 0 <= mean <= 1; got n={self.n}, mean={self.mean}")
        if self.correct is None:
            return
        right, answers = sum(self.correct.values()), len(self.correct) * self.samples
        if not 0 <= min(self.correct.values()) <= max(self.correct.values()) <= self.samples:
            raise ValueError(f"an item has fewer than 0 or more than {self.samples} right answers")
        if self.by_leaf:
            means = [fmean(counts) / self.samples for counts in self._leaves().values()]
            if len(self.correct) != self.n or not isclose(fmean(means), self.mean, abs_tol=1e-6):
                raise ValueError(f"the mean of the leaves' means is {fmean(means)}, which is not {self.mean}")
        elif len(self.correct) != self.n or not isclose(right / answers, self.mean, abs_tol=1e-6):
            raise ValueError(f"{right} of {answers} answers are right, which is not {self.mean} of {self.n} items")
        if self.clusters is not None and not self.correct.keys() <= self.clusters.keys():
            raise ValueError(f"no cluster for item {min(self.correct.keys() - self.clusters.keys())!r}")

    def _leaves(self) -> dict[str, list[int]]:
        leaves: dict[str, list[int]] = {}
        for item, right in (self.correct or {}).items():
            leaves.setdefault(item.rpartition("/")[0], []).append(right)
        return leaves

    @property
    def right(self) -> Fraction:
        """Sum of the items' scores, each 0..1: the number of right answers where each item has one."""
        if self.correct is not None and not self.by_leaf:
            return Fraction(sum(self.correct.values()), self.samples)
        total = self.mean * self.n
        return Fraction(round(total)) if isclose(total, round(total), abs_tol=1e-6) else Fraction(total)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A score against its baseline.

    Parameters
    ----------
    verdict
        ``worse``: more than 10 % below, and significantly. ``better``:
        significantly above. ``same``: neither, and nothing speaks for a drop.
        ``inconclusive``: too little is known to say. ``no_baseline``: nothing
        comparable.
    facts
        Why, with the numbers; ``facts.sentence()`` is for people.
    p_value
        One-sided, of "worse"; None without a baseline.
    baseline_mean, baseline_runs
        Mean score, 0..1, of how many runs; None and 0 without a baseline.
    drop
        Relative to the baseline, 0.1 is 10 % below, negative is above; None
        without a baseline or if that is 0.
    level
        What ``p_value`` was compared with.
    method
        The test; None without a baseline.
    """

    verdict: Verdict
    facts: Facts
    p_value: float | None = None
    baseline_mean: float | None = None
    baseline_runs: int = 0
    drop: float | None = None
    level: float
    method: Method | None = None

    @property
    def decisive(self) -> bool:
        """Whether this verdict replaces the one that holds."""
        return self.verdict in DECISIVE


def pinned_baseline(runs: Iterable[TaskScore]) -> tuple[TaskScore, ...]:
    """Choose the baseline among the accepted run (first) and the good runs of its tag that followed, by start.

    Reads no more than ``BASELINE_RUNS`` entries. Runs of another task hash or
    engine version, and runs that differ from those before, are left out and
    not replaced. Empty only for no runs.
    """
    members: list[TaskScore] = []
    for run in islice(runs, BASELINE_RUNS):
        if not members or (_mismatch(run, members[0]) is None and _alike(run, members)):
            members.append(run)
    return tuple(members)


def leaf_tests(candidate: TaskScore, baseline: Sequence[TaskScore]) -> dict[str, tuple[float, float, int, Exact]]:
    """Compare each leaf of a group with the group's baseline.

    Returns
    -------
    dict
        Leaf to its score, the baseline's, its number of items, and its own test; empty where items do not match.
    """
    return {
        leaf: (
            sum(units[0]) / size,
            sum(map(sum, units[1:])) / (size * len(baseline)),
            size // candidate.samples,
            exchange(units[0], units[1:]),
        )
        for leaf, (size, units) in _by_leaf(candidate, baseline).items()
    }


def compare(candidate: TaskScore, baseline: TaskScore | Sequence[TaskScore] | None, *, series: int) -> Comparison:
    """Compare a score with its baseline.

    Paired on the items where all runs have the same: the exact McNemar test,
    for several baseline runs its generalisation, by clusters if there are any.
    Else Fisher's exact test of two proportions.

    Parameters
    ----------
    candidate
        The score to judge.
    baseline
        One run, or several by start, the accepted one first; see
        :func:`pinned_baseline`. Members that are not comparable with the
        candidate are left out; if the first is not, there is no baseline.
    series
        How many scores (tasks times models) the stack compares.
    """
    level = significance_level(series)
    runs = [baseline] if isinstance(baseline, TaskScore) else list(baseline or ())
    mismatch = _mismatch(candidate, runs[0]) if runs else Facts(code="no_earlier_run")
    if mismatch is not None:
        return Comparison(verdict="no_baseline", facts=mismatch, level=level)
    runs = [run for run in runs if _mismatch(candidate, run) is None]
    reference = sum((run.right for run in runs), Fraction(0)) / sum(run.n for run in runs)
    if not _testable(candidate, runs):
        return Comparison(
            verdict="inconclusive",
            facts=Facts(code="leaf_means", values={"score": candidate.mean, "mean": float(reference)}),
            baseline_mean=float(reference),
            baseline_runs=len(runs),
            level=level,
        )
    test, method = _test(candidate, runs)
    score = candidate.right / candidate.n
    verdict, code = _judge(score, reference, test, level, collapse=lambda: _collapse(candidate, runs))
    return Comparison(
        verdict=verdict,
        facts=Facts.tested(
            code,
            score=float(score),
            mean=float(reference),
            runs=len(runs),
            items=candidate.n,
            answers=candidate.samples,
            p_value=test.worse,
            level=level,
        ),
        p_value=test.worse,
        baseline_mean=float(reference),
        baseline_runs=len(runs),
        drop=float(1 - score / reference) if reference else None,
        level=level,
        method=method,
    )


def _judge(
    score: Fraction, reference: Fraction, test: Exact, level: float, *, collapse: Callable[[], float]
) -> tuple[Verdict, str]:
    """Return the verdict and the code of its facts."""
    dropped = score < (1 - PRACTICAL_DROP) * reference
    if dropped and test.worse <= level:
        return "worse", "dropped"
    if test.better <= level:
        return "better", "above"
    if collapse() > level:
        return "inconclusive", "too_few_right"
    if dropped:
        return "inconclusive", "perhaps_chance"
    if test.worse <= DOUBT_LEVEL:
        return "inconclusive", "small_drop"
    return "same", "no_drop"


def _mismatch(one: TaskScore, other: TaskScore) -> Facts | None:
    if one.task_hash != other.task_hash:
        return Facts(code="other_task")
    if one.engine_version != other.engine_version:
        return Facts(code="other_engine", values={"engine": one.engine_version, "before": other.engine_version})
    return None


def _alike(run: TaskScore, members: Sequence[TaskScore]) -> bool:
    # A run that cannot be tested is not left out of the baseline.
    return not _testable(run, members) or _test(run, members)[0].different > OUTLIER_LEVEL


def _testable(candidate: TaskScore, runs: Sequence[TaskScore]) -> bool:
    return not candidate.by_leaf or _units(candidate, runs) is not None


def _test(candidate: TaskScore, runs: Sequence[TaskScore]) -> tuple[Exact, Method]:
    if candidate.by_leaf:
        leaves = _by_leaf(candidate, runs).values()
        return exchange_means([Stratum(units[0], units[1:], size) for size, units in leaves]), "paired"
    units = _units(candidate, runs)
    if units is not None:
        return exchange(units[0], units[1:]), "paired"
    n, right = sum(run.n for run in runs), sum((run.right for run in runs), Fraction(0))
    # Fractions of right answers are rounded so that "worse" becomes less likely.
    low = two_proportions(ceil(candidate.right), candidate.n, floor(right), n)
    high = two_proportions(floor(candidate.right), candidate.n, ceil(right), n)
    return Exact(
        worse=low.worse, better=high.better, different=min(1.0, 2 * min(low.worse, high.better))
    ), "two_proportions"


def _collapse(candidate: TaskScore, runs: Sequence[TaskScore]) -> float:
    """The p-value of "worse" if the candidate had no right answer at all."""
    items = None if candidate.correct is None else dict.fromkeys(candidate.correct, 0)
    return _test(replace(candidate, mean=0.0, correct=items), runs)[0].worse


def _units(candidate: TaskScore, runs: Sequence[TaskScore]) -> list[list[int]] | None:
    """Right answers of each item or cluster, one list a run, the candidate's first; None if items do not match.

    The answers to one item depend on each other: their count is what may be exchanged, never a single answer.
    """
    tables = [score.correct for score in (candidate, *runs)]
    known = [table for table in tables if table is not None]
    if len(known) < len(tables) or any(table.keys() != known[0].keys() for table in known):
        return None
    if any(run.samples != candidate.samples for run in runs):
        return None
    items = list(known[0])
    if candidate.clusters is None:
        return [[int(table[item]) for item in items] for table in known]
    members: dict[str, list[str]] = {}
    for item in items:
        members.setdefault(candidate.clusters[item], []).append(item)
    return [[sum(map(table.__getitem__, group)) for group in members.values()] for table in known]


def _by_leaf(candidate: TaskScore, runs: Sequence[TaskScore]) -> dict[str, tuple[int, list[list[int]]]]:
    """Of each leaf of a group its number of answers and what :func:`_units` returns; empty if items do not match."""
    items: dict[str, list[str]] = {}
    for item in candidate.correct or {}:
        items.setdefault(item.rpartition("/")[0], []).append(item)
    found = {}
    for leaf, members in items.items():
        parts = [_part(score, members) for score in (candidate, *runs)]
        units = _units(parts[0], parts[1:])
        if units is None:
            return {}
        found[leaf] = (len(members) * candidate.samples, units)
    return found


def _part(score: TaskScore, items: Sequence[str]) -> TaskScore:
    """Return the score of some of its items; without any where it lacks one of them."""
    table = score.correct or {}
    correct = {item: table[item] for item in items if item in table}
    mean = sum(correct.values()) / (len(items) * score.samples)
    return replace(
        score, n=len(items), mean=mean, correct=correct if len(correct) == len(items) else None, by_leaf=False
    )
