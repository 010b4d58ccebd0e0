"""claims.md: the verdicts on one page, then a section per claim."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stages.audit.judging import published
from stages.audit.judging.changes import Change
from stages.audit.judging.claims import SEEDS
from stages.audit.judging.comparisons import ARM_NAMES, listed
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.rounding import rounding, sentence
from stages.audit.judging.rungs import CORE, RUNGS, named
from stages.audit.judging.sentences import (
    MANY,
    headline_effect,
    margin,
    number,
    p_text,
    quantity,
    tally,
    verdict_sentence,
    with_interval,
)
from stages.audit.judging.tested import Bounded, Counted, Ranked, Stated, Tested
from stages.audit.judging.verdicts import Judged, Member, Verdict, corrected, networks_needed
from stages.common.datasets import title

INTRODUCTION = """\
# The published claims, judged

No verdict here is written by hand. `make audit` trains the networks, and rules decide that were
fixed before any of these was measured: [the protocol](../docs/audit-protocol.md) explains them,
[one file](../stages/audit/judging/claims.py) states them in code.

"""
PROVISIONAL = """\
**Provisional.** The first of two declared groups of ten seeds was run: {seeds} networks per cell.
The second will be added, and every claim judged again by the same rules.

"""
SCOPE = """\
**Scope.** Networks of two hidden layers, trained by plain SGD on {datasets}. What is said holds for
these, at these rates, and for the recipe *core*: every rate starts from fresh weights, pixels are
standardized, the rate is constant, nothing is clipped. {networks:,} networks were trained,
{per_cell} for each dataset and rate of core. Recipes outside the ladder have the first group of
seeds alone. The sections below say how many each comparison has.

**Words.** *Supported*: every comparison of the claim came out as it says. *Refuted*: at least one
came out the other way round, or the networks exclude a gain large enough to matter. *Equivalent*:
every difference is smaller than what matters: 0.2 points of accuracy on MNIST, 0.5 on
Fashion-MNIST, a factor of 1.1 in the steps, a point of active features, 20 points of the share of
networks. *Undecided*: after correction for the number of claims nothing is significant.
*Effect*: of the comparison that decides, with its 95 % confidence interval. *p*: the probability of
a result at least this clear if the verdict were only just wrong, corrected likewise; below 0.05 it
counts. Only just wrong means: for *supported*, there is no difference; for *refuted*, the gain is
as large as what matters; for *equivalent*, the difference is; for a share, it lies at its bound.
*Halves*: the verdicts of the lower and of the upper half of the seeds, each judged alone. A *lost*
network ranks last where accuracies or steps are compared; it is left out where active features are,
and from the claims about the mechanism.

"""
MIND = """\

## What would change our mind

New seeds overturn a supported claim if one of its comparisons no longer holds (where one is enough,
if none does). They restore a refuted one if none of its comparisons refutes it any more; its
section names the clearest of these. Half of the networks show less than all of them, so a half may
leave undecided what the whole decides. A claim that one half supports and the other refutes is
undecided, whatever the whole says. {agreement}

{undecided}"""
UNDECIDED = """\
Undecided claims, and the networks per cell that would decide them with a probability of 80 %, if \
others are like those seen:

"""
BETWEEN = """\

## What one change of the recipe changes

Two recipes differ where a test of the difference says so, after correction for all the recipes and
comparisons of a claim ({tested} tests; all are in [changes.csv](audit/changes.csv)). A
change is the effect that a comparison has with the second recipe minus the one that it has with the
first; of steps it is their ratio. {nothing}

"""
FAILURE = """\

## At which rate networks are lost

The rate at which a tenth, half and nine tenths of the networks are lost within the run, by a model
of the chance to be lost in each epoch, with 95 % intervals. –: it cannot be estimated.

"""
REPRODUCTION = """\

## Does the first rung reproduce the notebook?

In the notebook each rate continued from the weights of the rate before, in one run. Here this is
repeated with every seed. The notebook skipped 0.3 and ours does not, so that later rates continue
from other weights.

"""
SECTIONS = """\

## Claim by claim

A comparison's *effect* is the median difference between a network of one cell and one of the other;
*wins* is how often such a network is ahead; *without lost networks* is the effect among the others,
which decides nothing. Its *result* uses p values that are corrected for the number of comparisons
of its claim, so that the same comparison can have different results in two claims. *Better* means:
as the claim says. The heading of a p names the hypothesis that is tested: a small p speaks against
it. For a share and a bound, a small first p says that the share lies above the bound, a small
second p that it lies below.
"""
FOR_THE_REFEREE = "*Statistical details.*"
RANKED = (
    "Exact unpaired permutation tests of the rank sum, two-sided for a difference, one-sided for "
    "the margin."
)
SHARES = "Fisher's exact test for a difference of shares, Chan's exact test for the margin."
BOUNDS = "Exact binomial tests of a share against its bound, one-sided."


def report(
    judged: Sequence[Judged], changes: Sequence[Change], evidence: Evidence, failure: pd.DataFrame
) -> str:
    """Write the whole report.

    Args:
        judged: Every claim.
        changes: What was tested between rungs.
        evidence: What was trained.
        failure: The rates at which networks are lost, one row per dataset and recipe.
    """
    needed = {
        each.claim.key: networks_needed(each, evidence)
        for each in judged
        if each.decision.verdict == Verdict.UNDECIDED and each.overruled is None
    }
    parts = [
        INTRODUCTION,
        scope(evidence),
        tally(each.decision.verdict for each in judged) + "\n\n",
        verdicts(judged),
        mind(judged, needed),
        "\n## What was run\n\nNetworks lost, of networks trained:\n\n",
        ends(evidence),
        mechanism_losses(evidence.networks),
        between(changes),
        FAILURE,
        failures(failure),
        "\n## How firm: rounding\n\n",
        sentence(rounding(evidence.networks)) + "\n",
        REPRODUCTION,
        reproduction(evidence),
        SECTIONS,
        *(section(each, needed.get(each.claim.key, np.inf)) for each in judged),
    ]
    return "".join(parts)


def scope(evidence: Evidence) -> str:
    """Say what was run, and whether that is all that was declared."""
    core = evidence.networks[evidence.networks["recipe"] == CORE]
    per_cell = core.groupby(["dataset", "learning_rate"]).size()
    fewest = int(per_cell.min()) if len(per_cell) else 0
    names = [title(str(name)) for name in evidence.networks["dataset"].unique()]
    text = SCOPE.format(datasets=listed(names), networks=len(evidence.networks), per_cell=fewest)
    return (PROVISIONAL.format(seeds=fewest) if fewest < SEEDS else "") + text


def verdicts(judged: Sequence[Judged]) -> str:
    """Lay out the verdicts in Markdown, one row per claim."""
    rows = [
        {
            "claim": each.claim.statement,
            "verdict": f"**{each.decision.verdict}**",
            "effect (95 % interval)": headline_effect(each),
            "p": "–" if _arithmetic(each) else p_text(each.decision.corrected),
            "halves": _halves(each),
        }
        for each in judged
    ]
    return _markdown(rows)


def _arithmetic(judged: Judged) -> bool:
    return all(isinstance(member.tested, Stated) for member in judged.members)


def _halves(judged: Judged) -> str:
    if not judged.members or _arithmetic(judged):
        return "–"
    if judged.lower == judged.upper == judged.decision.verdict:
        return "both as the whole"
    return f"{judged.lower}, {judged.upper}"


def mind(judged: Sequence[Judged], needed: dict[str, float]) -> str:
    """Say how the halves agree, and what undecided claims need."""
    run = [each for each in judged if each.members and not _arithmetic(each)]
    same = sum(each.lower == each.upper for each in run)
    both = sum(each.lower == each.upper == each.decision.verdict for each in run)
    against = sum(each.overruled is not None for each in run)
    agreement = (
        f"The two halves give the same verdict on {same} of {len(run)} claims; on {both} of these "
        "it is also the verdict of all networks. They contradict each other on "
        f"{against or 'none'}."
    )
    lines = [
        f"- {each.claim.statement.removesuffix('.')}: {_networks(needed[each.claim.key])}\n"
        for each in judged
        if each.claim.key in needed
    ]
    undecided = [UNDECIDED, *lines] if lines else []
    return MIND.format(agreement=agreement, undecided="".join(undecided))


def _networks(needed: float) -> str:
    return f"more than {MANY:,}" if needed > MANY else f"{needed:.0f}"


def ends(evidence: Evidence) -> str:
    """Lay out in Markdown how many networks of each recipe and rate were lost."""
    networks = evidence.networks
    order = [name for name in RUNGS if name in set(networks["recipe"])]
    rows = []
    for dataset in networks["dataset"].unique():
        for recipe in order:
            here = networks[(networks["dataset"] == dataset) & (networks["recipe"] == recipe)]
            row = {"dataset": title(str(dataset)), "recipe": named(recipe)}
            for rate, cell in here.groupby("learning_rate"):
                row[f"{rate:g}"] = f"{int((cell['outcome'] == 'lost').sum())} of {len(cell)}"
            rows.append(row)
    return _markdown(rows, empty="None of the ladder.\n")


def mechanism_losses(networks: pd.DataFrame) -> str:
    """Say which arms of the mechanism lost networks; nothing if it was not run."""
    arms = networks[networks["recipe"].isin(ARM_NAMES)]
    if arms.empty:
        return ""
    told = [
        f"{(cell['outcome'] == 'lost').sum()} of {len(cell)} at {ARM_NAMES[str(arm)]} "
        f"({title(str(dataset))})"
        for (arm, dataset), cell in arms.groupby(["recipe", "dataset"], sort=False)
        if (cell["outcome"] == "lost").any()
    ]
    lost = f"{listed(told)} were" if told else "none was"
    return f"\nOf the networks of the mechanism, {lost} lost.\n"


def between(changes: Sequence[Change]) -> str:
    """Lay out in Markdown the changes of recipe that change a comparison of a claim."""
    rows = [
        {
            "claim": change.claim.title,
            "from → to": f"{named(change.before)} → {named(change.after)}",
            "compared": f"{change.comparison.label}, {change.comparison.quantity_name}",
            "change (95 % interval)": with_interval(change.tested, change.tested.effect),
            "p": p_text(change.corrected),
        }
        for change in changes
        if change.significant
    ]
    nothing = "" if rows else "None changes anything that these networks can tell."
    heading = BETWEEN.format(tested=len(changes), nothing=nothing).replace(" \n", "\n")
    return heading + _markdown(rows)


def failures(table: pd.DataFrame) -> str:
    """Lay out the rates at which networks are lost in Markdown."""
    rows = []
    for row in table.to_dict("records"):
        times = "–" if row["recipe"] == CORE else _estimated(row, "times_core", ".2f")
        rows.append(
            {
                "dataset": title(str(row["dataset"])),
                "recipe": named(str(row["recipe"])),
                "lost": f"{row['lost']:.0f} of {row['networks']:.0f}",
                **{f"{p} % lost": _estimated(row, f"rate_{p}", ".3g") for p in (10, 50, 90)},
                "half, against core": times if times == "–" else f"× {times}",
            }
        )
    return _markdown(rows, empty="Not run.\n")


def _estimated(row: Mapping[Any, Any], name: str, digits: str) -> str:
    value, *ends = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if np.isnan(value):
        return "–"
    low, high = ("…" if np.isnan(end) else f"{end:{digits}}" for end in ends)
    return f"{value:{digits}} ({low} to {high})"


def reproduction(evidence: Evidence) -> str:
    """Compare the first rung with the notebook's last epoch, in Markdown."""
    rows = []
    networks = evidence.networks[evidence.networks["recipe"] == RUNGS[0]]
    for dataset, outputs in published.NOTEBOOK_ACCURACY.items():
        for rate, output in outputs.items():
            cell = networks[
                (networks["dataset"] == dataset) & np.isclose(networks["learning_rate"], rate)
            ]
            if cell.empty:
                continue
            broken = cell["lost_how"] == "exploded"
            finite = 100 * cell.loc[~broken, "test_accuracy"]
            reach = " to ".join(dict.fromkeys(f"{end:.2f}" for end in (finite.min(), finite.max())))
            rows.append(
                {
                    "dataset": title(dataset),
                    "rate": f"{rate:g}",
                    "notebook": "nan" if output is None else f"{100 * output:.2f} %",
                    "end non-finite here": f"{int(broken.sum())} of {len(cell)}",
                    "test accuracy of the others": f"{reach} %" if len(finite) else "–",
                }
            )
    return _markdown(rows, empty="Not run.\n")


def section(judged: Judged, needed: float) -> str:
    """Write a claim's section in Markdown."""
    claim = judged.claim
    text = f"\n### {claim.statement}\n\n{claim.compared}\n\n"
    text += f"**{verdict_sentence(judged, needed)}**\n"
    if not judged.members:
        return text
    tested = [member.tested for member in judged.members]
    results = [found.result for found in corrected(tested)]
    rows = [
        _compared(member, result) for member, result in zip(judged.members, results, strict=True)
    ]
    referee = " ".join(filter(None, (FOR_THE_REFEREE, _tests(tested), _decided(judged))))
    return f"{text}\n{_markdown(rows)}\n{referee}\n"


def _compared(member: Member, result: str) -> dict[str, str]:
    tested, effect = member.tested, member.tested.effect
    p_values = tested.p_difference, tested.p_not_better, tested.p_not_worse
    told = ["–" if isinstance(tested, Stated) else p_text(p) for p in p_values]
    sizes = " against ".join(str(size) for size in tested.sizes if size)
    survivors = tested.scale.readable(tested.survivors_effect())
    wins = effect.probability
    return {
        "compared": member.comparison.label,
        "quantity": quantity(member),
        "networks": sizes or "–",
        "effect (95 % interval)": with_interval(tested, effect),
        "wins": "–" if np.isnan(wins) else f"{100 * wins:.0f} %",
        "without lost networks": "–" if np.isnan(survivors) else number(survivors, tested.scale),
        "p if no difference": told[0],
        "p if better by the margin": told[1],
        "p if worse by the margin": told[2],
        "result": result,
    }


def _tests(tested: Sequence[Tested]) -> str:
    kinds: dict[type, str] = {Ranked: RANKED, Counted: SHARES, Bounded: BOUNDS}
    used = [text for kind, text in kinds.items() if any(isinstance(t, kind) for t in tested)]
    margins = dict.fromkeys(
        margin(each.scale) for each in tested if isinstance(each, Ranked | Counted)
    )
    told = f"Margin: {', '.join(margins)}." if margins else ""
    return " ".join([*used, told]).strip() or "Arithmetic; nothing is tested."


def _decided(judged: Judged) -> str:
    decision = judged.decision
    if _arithmetic(judged):
        return ""
    return (
        f"p of “{decision.leaning}” {p_text(decision.p)} (Holm's level: {decision.level:.4f}), "
        f"corrected for all claims {p_text(decision.corrected)}. Lower half of the seeds: "
        f"{judged.lower}; upper half: {judged.upper}."
    )


def _markdown(rows: Sequence[Mapping[str, str]], empty: str = "") -> str:
    """Write rows as a Markdown table, with a dash for a missing cell; `empty` if there are none."""
    if not rows:
        return empty
    table = pd.DataFrame(rows).fillna("–")
    return table.to_markdown(index=False, disable_numparse=True) + "\n"
