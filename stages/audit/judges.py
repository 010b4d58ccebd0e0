"""How each kind of claim is judged: pure functions from the evidence on a rung to a finding."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from stages.audit import published, verdicts
from stages.audit.comparison import (
    FEWEST_PAIRS,
    LEVEL,
    POWER,
    Comparison,
    holm,
    paired,
    sign_test,
    trend,
)
from stages.audit.verdicts import (
    Direction,
    Evidence,
    Finding,
    Verdict,
    all_of,
    any_of,
    direction,
    share,
)
from stages.core.params import CORE


def faster(evidence: Evidence, rung: str, *, dataset: str) -> Finding:
    """Compare the steps to the threshold at each larger rate with those at the smallest."""
    steps = evidence.table(rung, dataset, "steps_to_threshold")
    if steps.shape[1] < 2 or steps.iloc[:, 0].count() < FEWEST_PAIRS:
        return _too_little(steps)
    smallest, *larger = verdicts.rates(steps)
    texts = [f"{smallest:g}: {steps[smallest].mean():.0f} steps"]
    directions: list[Direction] = []
    compared = {rate: paired(np.log(steps[smallest]), np.log(steps[rate])) for rate in larger}
    adjusted = dict(zip(larger, holm([each.p for each in compared.values()]), strict=True))
    for rate in larger:
        arrived = int(steps[rate].count())
        if 2 * arrived < len(steps):
            directions.append("worse")
            texts.append(f"{rate:g}: {arrived} of {len(steps)} seeds get there")
            continue
        directions.append(direction(-compared[rate].difference, adjusted[rate]))
        ratio = np.exp(compared[rate].difference)
        texts.append(
            f"{rate:g}: {steps[rate].mean():.0f} (× {ratio:.2f}, {_p(adjusted[rate])})"
            + f", {arrived} of {len(steps)} seeds" * (arrived < len(steps))
        )
    test = _paired_test(compared.values(), "a ratio of ", lambda size: f"{np.exp(size):.2f}")
    return Finding(all_of(directions), "; ".join(texts), test)


def better(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Compare the test accuracy at some rates, all of which must have run, with the smallest's."""
    accuracy = evidence.table(rung, dataset, "test_accuracy")
    smallest = min(verdicts.rates(accuracy), default=np.nan)
    chosen = [rate for rate in rates if rate in accuracy and rate != smallest]
    if not chosen:
        return _too_little(accuracy)
    directions, texts, test = _accuracies(accuracy, smallest, chosen)
    absent = [f"{rate:g}: not run" for rate in rates if rate not in accuracy]
    verdict = Verdict.UNTESTABLE if absent else all_of(directions)
    return Finding(verdict, "; ".join([*texts, *absent]), test)


def best(evidence: Evidence, rung: str, *, dataset: str, rate: float) -> Finding:
    """Compare the test accuracy at one rate with that at every other."""
    accuracy = evidence.table(rung, dataset, "test_accuracy")
    if rate not in accuracy or accuracy.shape[1] < 2:
        return Finding(Verdict.UNTESTABLE, f"{rate:g} was not run", "none")
    return _no_other_better(
        accuracy, rate, [other for other in verdicts.rates(accuracy) if other != rate]
    )


def favours(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Compare the better of some rates, by validation accuracy, with every rate beside them."""
    accuracy = evidence.table(rung, dataset, "test_accuracy")
    validation = evidence.table(rung, dataset, "validation_accuracy")
    chosen = [rate for rate in rates if rate in accuracy]
    others = [rate for rate in verdicts.rates(accuracy) if rate not in rates]
    if not chosen or not others:
        return _too_little(accuracy)
    return _no_other_better(accuracy, max(chosen, key=lambda rate: validation[rate].mean()), others)


def unstable(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Count the seeds that do not end trained at some rates."""
    outcome = evidence.table(rung, dataset, "outcome")
    chosen = [rate for rate in rates if rate in outcome]
    if not chosen or len(outcome) < FEWEST_PAIRS:
        return _too_little(outcome)
    failing = {rate: int((outcome[rate] != "trained").sum()) for rate in chosen}
    lost = evidence.table(rung, dataset, "diverged_step") == 1
    texts, intervals = [], []
    for rate, count in failing.items():
        kinds = outcome[rate].value_counts()
        detail = [f"{kinds[kind]} {kind}" for kind in ("exploded", "collapsed") if kind in kinds]
        if lost[rate].any():
            detail.append(f"{int(lost[rate].sum())} lost before this rate began")
        text = f"{rate:g}: {count} of {len(outcome)} seeds fail"
        texts.append(text + f" ({', '.join(detail)})" * (count > 0))
        bounds = stats.binomtest(count, len(outcome)).proportion_ci()
        intervals.append(f"{rate:g}: {100 * bounds.low:.0f}–{100 * bounds.high:.0f} %")
    test = f"share of {len(outcome)} seeds, 95 % interval (Clopper–Pearson): {', '.join(intervals)}"
    return Finding(
        share([each / len(outcome) for each in failing.values()]), "; ".join(texts), test
    )


def exploding(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Ask how the seeds that fail at some rates do, and whether clipping would have saved them."""
    rows = evidence.rows(rung, dataset)
    failed = rows[rows["learning_rate"].isin(rates) & (rows["outcome"] != "trained")]
    if failed.empty:
        return Finding(Verdict.UNTESTABLE, "no seed fails at these rates", "none")
    exploded = failed[failed["outcome"] == "exploded"]
    texts = [f"{len(exploded)} of {len(failed)} failing seeds explode"]
    lost = int((failed["diverged_step"] == 1).sum())
    if lost:
        texts.append(f"{lost} of them were lost before the rate began")
    if not exploded.empty:
        texts.append(f"gradient norm just before: median {_last_norm(exploded):.3g}")
    saved = None
    if rung == CORE and evidence.clipped:
        name = evidence.clipped[0]
        clipped = evidence.table(name, dataset, "outcome").stack()
        keys = failed[["seed", "learning_rate"]].itertuples(index=False, name=None)
        saved = sum(clipped.get(key) == "trained" for key in keys)
        texts.append(f"{saved} of {len(failed)} are trained with clipping")
    if exploded.empty or saved == 0:
        verdict = Verdict.REFUTED
    elif len(exploded) == len(failed) and saved in {None, len(failed)}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.MIXED
    return Finding(verdict, "; ".join(texts), f"count of {len(failed)} failing seeds")


def more_robust(evidence: Evidence, rung: str) -> Finding:
    """Hold a recipe against core: which networks end trained, and where each seed breaks."""
    keys = ["dataset", "learning_rate", "seed"]
    both = evidence.rows(CORE).merge(evidence.rows(rung), on=keys, suffixes=("_core", "_here"))
    if both.empty:
        return Finding(Verdict.UNTESTABLE, "no network was trained both ways", "none")
    before, after = both["outcome_core"] == "trained", both["outcome_here"] == "trained"
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    breaking = breaking_rates(evidence.boundary)
    searched = {CORE, rung} <= set(breaking)
    nowhere = Comparison(0, np.nan, np.nan, np.nan)
    shift = paired(np.log(breaking[CORE]), np.log(breaking[rung])) if searched else nowhere
    p_counts, p_shift = holm([sign_test(gained, lost), shift.p])
    directions = [direction(gained - lost, p_counts), direction(shift.difference, p_shift)]
    texts = [
        f"of {int((~before).sum())} failing networks {gained} become trained, "
        f"of {int(before.sum())} trained ones {lost} fail ({_p(p_counts)})"
    ]
    tests = [f"exact sign test over {gained + lost} networks that change"]
    if searched:
        texts.append(f"the breaking rate is × {np.exp(shift.difference):.2f} ({_p(p_shift)})")
        tests.append(_paired_test([shift], "a ratio of ", lambda size: f"{np.exp(size):.2f}"))
    return Finding(any_of(directions), "; ".join(texts), "; ".join(tests))


def sparser(evidence: Evidence, rung: str, *, dataset: str) -> Finding:
    """Ask whether the share of active features falls as the rate grows, where all seeds train."""
    columns = [name for name in map(str, evidence.ladder) if name.startswith("feature_sparsity")]
    sparsity = evidence.table(rung, dataset, columns[-1]) if columns else pd.DataFrame()
    outcome = evidence.table(rung, dataset, "outcome")
    trained = [rate for rate in verdicts.rates(sparsity) if (outcome[rate] == "trained").all()]
    falling, rising = trend(sparsity[trained])
    if np.isnan(falling):
        return _too_little(sparsity[trained])
    long = sparsity[trained].stack()
    rho = stats.spearmanr(long.index.get_level_values(1), long).statistic
    if min(falling, rising) >= LEVEL / 2:
        verdict = Verdict.UNTESTABLE
    else:
        verdict = Verdict.SUPPORTED if falling < rising else Verdict.REFUTED
    means = ", ".join(f"{rate:g}: {100 * sparsity[rate].mean():.1f} %" for rate in trained)
    return Finding(
        verdict,
        f"active in the last hidden layer, {means}; Spearman's ρ = {rho:.2f}",
        f"Page's trend test over {len(sparsity)} seeds and {len(trained)} rates at which all "
        f"train, {_p(min(1.0, 2 * min(falling, rising)))}",
    )


def printed(
    evidence: Evidence,
    rung: str,
    *,
    dataset: str,
    claimed: Mapping[float, float],
    notebook: Mapping[float, float | None],
) -> Finding:
    """Hold printed accuracies against the notebook's own output and runs of its protocol."""
    trained = evidence.table(rung, dataset, "outcome") == "trained"
    accuracy = evidence.table(rung, dataset, "test_accuracy").where(trained)
    counts = accuracy.count()
    if any(counts.get(rate, 0) < FEWEST_PAIRS for rate in claimed):
        return _too_little(accuracy)
    texts, inside = [], []
    for rate, number in claimed.items():
        count, middle = counts[rate], accuracy[rate].mean()
        quantile = stats.t.ppf(1 - LEVEL / 2, count - 1)
        reach = quantile * accuracy[rate].std(ddof=1) * np.sqrt(1 + 1 / count)
        inside.append(abs(number - middle) <= reach)
        output = notebook.get(rate)
        texts.append(
            f"{rate:g}: printed {100 * number:.2f} %, the notebook's output "
            + (f"{100 * output:.2f} %" if output is not None else "nan")
            + f", here {100 * middle:.2f} %, one more run {100 * (middle - reach):.2f} to "
            f"{100 * min(1.0, middle + reach):.2f} %"
        )
    same = [
        (output := notebook.get(rate)) is not None and abs(output - number) <= published.ROUNDING
        for rate, number in claimed.items()
    ]
    plausible = Verdict.MIXED if all(inside) else Verdict.REFUTED
    return Finding(
        Verdict.SUPPORTED if all(same) else plausible,
        "; ".join(texts),
        "95 % prediction interval of one more run that trains (Student's t), from the "
        f"{counts[list(claimed)].min()} to {counts[list(claimed)].max()} seeds that do",
    )


def usable(evidence: Evidence, rung: str, *, rate: float) -> Finding:
    """Count the seeds that train at a rate and reach the threshold, over all datasets."""
    rows = evidence.rows(rung)
    rows = rows[np.isclose(rows["learning_rate"], rate)]
    if rows.empty:
        return Finding(Verdict.UNTESTABLE, f"{rate:g} was not run", "none")
    arrived = (rows["outcome"] == "trained") & rows["steps_to_threshold"].notna()
    texts = [
        f"{name}: test accuracy {100 * group['test_accuracy'].mean():.1f} %, "
        f"{int(arrived[group.index].sum())} of {len(group)} seeds reach the threshold"
        for name, group in rows.groupby("dataset", sort=False)
    ]
    if arrived.all():
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.MIXED if arrived.any() else Verdict.REFUTED
    return Finding(verdict, "; ".join(texts), f"count of {len(rows)} networks")


def breaking_rates(boundary: pd.DataFrame) -> pd.DataFrame:
    """Compute the rate at which each seed breaks, a row a dataset and seed, a column a recipe.

    It is the middle, on a logarithmic axis, of the rates that bracket it; missing where an end was
    never tried.
    """
    middle = np.sqrt(boundary["low"] * boundary["high"])
    return boundary.assign(middle=middle).pivot(
        index=["dataset", "seed"], columns="recipe", values="middle"
    )


def _no_other_better(accuracy: pd.DataFrame, chosen: float, others: Sequence[float]) -> Finding:
    directions, texts, test = _accuracies(accuracy, chosen, others)
    if "better" in directions:
        verdict = Verdict.REFUTED
    elif set(directions) == {"worse"}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.MIXED if "worse" in directions else Verdict.UNTESTABLE
    return Finding(verdict, "; ".join(texts), test)


def _accuracies(
    accuracy: pd.DataFrame, base: float, others: Sequence[float]
) -> tuple[list[Direction], list[str], str]:
    """Compare test accuracies with that at one rate, all seeds counting."""
    compared = {rate: paired(accuracy[base], accuracy[rate]) for rate in others}
    adjusted = holm([each.p for each in compared.values()])
    directions = [
        direction(each.difference, p) for each, p in zip(compared.values(), adjusted, strict=True)
    ]
    texts = [f"{base:g}: {100 * accuracy[base].mean():.2f} %"]
    for (rate, each), p in zip(compared.items(), adjusted, strict=True):
        mean = 100 * accuracy[rate].mean()
        texts.append(f"{rate:g}: {mean:.2f} % ({100 * each.difference:+.2f}, {_p(p)})")
    return directions, texts, _paired_test(compared.values(), "", lambda x: f"{100 * x:.2f} points")


def _paired_test(comparisons: Iterable[Comparison], of: str, shown: Callable[[float], str]) -> str:
    known = [each for each in comparisons if not np.isnan(each.p)]
    if not known:
        return "none: too few pairs"
    pairs = sorted({each.pairs for each in known})
    span = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
    sizes = sorted(each.detectable for each in known)
    seen = shown(sizes[0]) if len(sizes) == 1 else f"{shown(sizes[0])} to {shown(sizes[-1])}"
    method = "paired t-test" + ", p by Holm" * (len(known) > 1)
    return f"{method}, {span} pairs; power of {100 * POWER:.0f} % for {of}{seen}"


def _last_norm(exploded: pd.DataFrame) -> float:
    """Compute the median of the last gradient norms that were finite."""
    lists = exploded["last_gradient_norms"].dropna().astype(str)
    return float(np.median([float(each.split()[-1]) for each in lists] or [np.nan]))


def _p(value: float) -> str:
    if np.isnan(value):
        return "no test"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _too_little(table: pd.DataFrame) -> Finding:
    rates = ", ".join(f"{rate:g}" for rate in table) or "none"
    return Finding(Verdict.UNTESTABLE, f"too few rates or seeds (rates: {rates})", "none")
