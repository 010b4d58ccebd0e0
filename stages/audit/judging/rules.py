"""How each kind of claim is judged: pure functions from the evidence on a rung to a finding."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from stages.audit.judging import evidence as verdicts
from stages.audit.judging import published
from stages.audit.judging.breaking import breaking_rates
from stages.audit.judging.comparison import (
    FEWEST_PAIRS,
    LEVEL,
    Comparison,
    holm,
    paired,
    sign_test,
    trend,
)
from stages.audit.judging.evidence import (
    Direction,
    Evidence,
    Finding,
    Verdict,
    all_of,
    any_of,
    direction,
    share,
)
from stages.audit.judging.rates_compared import Wording, against, p_text, paired_test_text
from stages.audit.training.parameters import CORE

ACCURACY = Wording(
    level=lambda accuracy: f"{100 * accuracy:.2f} %",
    change=lambda gain: f"{100 * gain:+.2f}",
    size=lambda gain: f"{100 * gain:.2f} points",
    success="train",
)
STEPS = Wording(
    level=lambda speed: f"{np.exp(-speed):.0f} steps",
    change=lambda gain: f"× {np.exp(-gain):.2f}",
    size=lambda gain: f"× {np.exp(gain):.2f}",
    success="get there and train",
)
"""Of minus the logarithm of steps, whose means are geometric."""


def faster(evidence: Evidence, rung: str, *, dataset: str) -> Finding:
    """Compare the steps to the threshold at each larger rate with those at the smallest."""
    steps = _of_trained(evidence, rung, dataset, "steps_to_threshold")
    if steps.shape[1] < 2 or steps.iloc[:, 0].count() < FEWEST_PAIRS:
        return _too_little(steps)
    smallest, *larger = verdicts.rates(steps)
    directions, texts, test = against(
        -steps.apply(np.log),
        evidence.table(rung, dataset, "outcome").notna(),
        smallest,
        larger,
        STEPS,
    )
    return Finding(all_of(list(directions.values())), "; ".join(texts), test)


def better(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Compare the test accuracy at some rates, all of which must have run, with the smallest's."""
    accuracy = _of_trained(evidence, rung, dataset, "test_accuracy")
    smallest = min(verdicts.rates(accuracy), default=np.nan)
    chosen = [rate for rate in rates if rate in accuracy and rate != smallest]
    if not chosen or accuracy[smallest].count() < FEWEST_PAIRS:
        return _too_little(accuracy)
    directions, texts, test = _accuracies(evidence, rung, dataset, smallest, chosen)
    texts += [f"{rate:g}: not run" for rate in rates if rate not in accuracy]
    compared = set(rates) == set(directions)
    verdict = all_of(list(directions.values())) if compared else Verdict.UNTESTABLE
    return Finding(verdict, "; ".join(texts), test)


def best(evidence: Evidence, rung: str, *, dataset: str, rate: float) -> Finding:
    """Compare the test accuracy at one rate with that at every other."""
    run = verdicts.rates(evidence.table(rung, dataset, "test_accuracy"))
    others = [other for other in run if other != rate]
    if rate not in run or not others:
        return Finding(Verdict.UNTESTABLE, f"{rate:g} was not run", "none")
    return _no_other_better(evidence, rung, dataset, rate, others)


def favours(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Compare the better of some rates, by validation accuracy, with every rate beside them."""
    validation = evidence.table(rung, dataset, "validation_accuracy")
    chosen = [rate for rate in rates if rate in validation]
    others = [rate for rate in verdicts.rates(validation) if rate not in rates]
    if not chosen or not others:
        return _too_little(validation)
    favourite = max(chosen, key=lambda rate: validation[rate].mean())
    return _no_other_better(evidence, rung, dataset, favourite, others)


def unstable(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Count the seeds that do not end trained at some rates, at all of which seeds must begin."""
    outcome = evidence.table(rung, dataset, "outcome")
    lost_how = evidence.table(rung, dataset, "lost_how")
    began = {rate: int(outcome[rate].count()) if rate in outcome else 0 for rate in rates}
    if min(began.values()) < FEWEST_PAIRS:
        seeds = ", ".join(f"{rate:g}: {count}" for rate, count in began.items())
        return Finding(Verdict.UNTESTABLE, f"too few seeds could begin ({seeds})", "none")
    shares, texts, intervals = [], [], []
    for rate, count in began.items():
        kinds = outcome[rate].where(lost_how[rate].isna(), lost_how[rate]).value_counts()
        failing = count - int(kinds.get("trained", 0))
        shares.append(failing / count)
        named = [kind for kind in ("exploded", "collapsed", "undertrained") if kind in kinds]
        detail = [f"{kinds[kind]} {kind}" for kind in named]
        text = f"{rate:g}: {failing} of {count} seeds fail"
        texts.append(text + f" ({', '.join(detail)})" * (failing > 0))
        bounds = stats.binomtest(failing, count).proportion_ci()
        intervals.append(f"{rate:g}: {100 * bounds.low:.0f}–{100 * bounds.high:.0f} %")
    test = f"none: shares as seen; 95 % intervals (Clopper–Pearson): {', '.join(intervals)}"
    return Finding(share(shares), "; ".join(texts), test)


def exploding(evidence: Evidence, rung: str, *, dataset: str, rates: Sequence[float]) -> Finding:
    """Ask how the seeds that are lost at some rates ended, and whether clipping saves them."""
    rows = evidence.rows(rung, dataset)
    begun = rows[rows["learning_rate"].isin(rates)]
    lost = begun[begun["outcome"] == "lost"]
    if lost.empty:
        nothing = "no seed could begin" if begun.empty else "no seed is lost"
        return Finding(Verdict.UNTESTABLE, f"{nothing} at these rates", "none")
    exploded = lost[lost["lost_how"] == "exploded"]
    peak = lost["peak_gradient_norm"].median()
    texts = [
        f"{len(exploded)} of {len(lost)} lost seeds explode",
        f"their largest finite gradient norm: median {peak:.3g}",
    ]
    saved = None
    if rung == CORE and evidence.clipped:
        name = evidence.clipped[0]
        clipped = evidence.table(name, dataset, "outcome").stack()
        keys = lost[["seed", "learning_rate"]].itertuples(index=False, name=None)
        saved = sum(clipped.get(key) == "trained" for key in keys)
        texts.append(f"{saved} of {len(lost)} are trained with clipping")
    if len(lost) < FEWEST_PAIRS:
        verdict = Verdict.UNTESTABLE
    elif exploded.empty or saved == 0:
        verdict = Verdict.REFUTED
    elif len(exploded) == len(lost) and saved in {None, len(lost)}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.MIXED
    return Finding(verdict, "; ".join(texts), f"count of {len(lost)} lost seeds")


def more_robust(evidence: Evidence, rung: str) -> Finding:
    """Hold a recipe against core: which networks end trained, and where each seed breaks."""
    keys = ["dataset", "learning_rate", "seed"]
    both = evidence.rows(CORE).merge(evidence.rows(rung), on=keys, suffixes=("_core", "_here"))
    if both.empty:
        return Finding(Verdict.UNTESTABLE, "no network was trained both ways", "none")
    before, after = both["outcome_core"] == "trained", both["outcome_here"] == "trained"
    gains = after.astype(int).sub(before).groupby([both["dataset"], both["seed"]]).sum()
    more, fewer = int((gains > 0).sum()), int((gains < 0).sum())
    breaking = breaking_rates(evidence.boundary)
    searched = {CORE, rung} <= set(breaking)
    nowhere = Comparison(0, np.nan, np.nan, np.nan)
    shift = paired(np.log(breaking[CORE]), np.log(breaking[rung])) if searched else nowhere
    p_counts, p_shift = holm([sign_test(more, fewer), shift.p])
    directions = [direction(more - fewer, p_counts), direction(shift.difference, p_shift)]
    saved, spoiled = int((after & ~before).sum()), int((before & ~after).sum())
    texts = [
        f"of {int((~before).sum())} failing networks {saved} become trained, "
        f"of {int(before.sum())} trained ones {spoiled} fail; "
        f"of {len(gains)} seeds {more} train at more rates, {fewer} at fewer ({p_text(p_counts)})"
    ]
    tests = [f"exact sign test over {more + fewer} seeds that change"]
    if searched:
        texts.append(f"the breaking rate is × {np.exp(shift.difference):.2f} ({p_text(p_shift)})")
        tests.append(paired_test_text([shift], lambda size: f"× {np.exp(size):.2f}"))
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
        f"train, {p_text(min(1.0, 2 * min(falling, rising)))}",
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
    level = LEVEL / len(claimed)
    for rate, number in claimed.items():
        count, middle = counts[rate], accuracy[rate].mean()
        quantile = stats.t.ppf(1 - level / 2, count - 1)
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
        f"{100 * (1 - level):.1f} % prediction intervals of one more run that trains (Student's t; "
        f"95 % for all), from the {counts[list(claimed)].min()} to {counts[list(claimed)].max()} "
        "seeds that do",
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


def _accuracies(
    evidence: Evidence, rung: str, dataset: str, base: float, others: Sequence[float]
) -> tuple[dict[float, Direction], list[str], str]:
    """Hold the test accuracies of rates against that at one."""
    accuracy = _of_trained(evidence, rung, dataset, "test_accuracy")
    began = evidence.table(rung, dataset, "outcome").notna()
    return against(accuracy, began, base, others, ACCURACY)


def _no_other_better(
    evidence: Evidence, rung: str, dataset: str, chosen: float, others: Sequence[float]
) -> Finding:
    accuracy = _of_trained(evidence, rung, dataset, "test_accuracy")
    if accuracy[chosen].count() < FEWEST_PAIRS:
        return _too_little(accuracy)
    compared, texts, test = _accuracies(evidence, rung, dataset, chosen, others)
    directions = set(compared.values())
    if "better" in directions:
        verdict = Verdict.REFUTED
    elif directions == {"worse"}:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.MIXED if "worse" in directions else Verdict.UNTESTABLE
    return Finding(verdict, "; ".join(texts), test)


def _of_trained(evidence: Evidence, rung: str, dataset: str, column: str) -> pd.DataFrame:
    """Lay out a quantity of the networks that end trained; it is missing for the others."""
    trained = evidence.table(rung, dataset, "outcome") == "trained"
    return evidence.table(rung, dataset, column).where(trained)


def _too_little(table: pd.DataFrame) -> Finding:
    rates = ", ".join(f"{rate:g}" for rate in table) or "none"
    return Finding(Verdict.UNTESTABLE, f"too few rates or seeds (rates: {rates})", "none")
