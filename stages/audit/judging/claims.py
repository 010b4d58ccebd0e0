"""The published claims, and the rule by which each is judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from stages.audit.judging import published
from stages.audit.judging.evidence import Evidence, Finding, Verdict
from stages.audit.judging.rules import (
    best,
    better,
    exploding,
    faster,
    favours,
    more_robust,
    printed,
    sparser,
    unstable,
    usable,
)
from stages.audit.training.parameters import CORE


@dataclass(frozen=True)
class Claim:
    """A sentence of the published study, and how it is judged on a rung."""

    name: str
    statement: str
    rule: str
    """What makes it supported, refuted, mixed; not testable otherwise."""
    judge: Callable[[Evidence, str], Finding]
    rungs: Callable[[Evidence], Sequence[str]] = lambda evidence: evidence.rungs

    def findings(self, evidence: Evidence) -> dict[str, Finding]:
        """Judge it on every rung that bears on it."""
        return {rung: self.judge(evidence, rung) for rung in self.rungs(evidence)}


def with_rate(rate: float) -> Callable[[Evidence], Sequence[str]]:
    """Choose the recipes that are no rungs and were trained at a rate."""

    def chosen(evidence: Evidence) -> Sequence[str]:
        ladder = evidence.ladder
        here = ladder[
            np.isclose(ladder["learning_rate"], rate) & ~ladder["rung"].isin(evidence.rungs)
        ]
        return list(here["rung"].unique())

    return chosen


AMONG = (
    "Compared over the seeds that end trained at both rates; a rate at which fewer than half of "
    "the seeds do is worse, and one that fails a seed which the other trains is not better. "
)
EACH = (
    "Supported if {each} is significantly better, refuted if none is and one is significantly "
    "worse, mixed if only some are better."
)
CLAIMS = (
    Claim(
        "faster",
        "Larger rates converge faster on MNIST.",
        "Steps until the accuracy on examples not yet learned from reaches the threshold, against "
        "the smallest rate. " + AMONG + EACH.format(each="every larger rate"),
        partial(faster, dataset="mnist"),
    ),
    Claim(
        "better",
        "Larger rates (0.2, 0.3) perform better on MNIST.",
        "Test accuracy of the last epoch against that at the smallest rate; not testable where one "
        "of the two was not run. " + AMONG + EACH.format(each="each of the two"),
        partial(better, dataset="mnist", rates=(0.2, 0.3)),
    ),
    Claim(
        "best",
        "0.3 is the best rate for MNIST.",
        "Test accuracy of the last epoch against that at every other rate run. "
        + AMONG
        + "Supported if each is significantly worse, "
        "refuted if one is significantly better, mixed if only some are worse.",
        partial(best, dataset="mnist", rate=0.3),
    ),
    Claim(
        "favours",
        "Fashion-MNIST favours 0.1 or 0.2.",
        "Test accuracy of the better of the two, chosen by validation accuracy, against that at "
        "every other rate run. "
        + AMONG
        + "Supported if each is significantly worse, refuted if one is significantly better, mixed "
        "if only some are worse.",
        partial(favours, dataset="fashion_mnist", rates=(0.1, 0.2)),
    ),
    Claim(
        "unstable",
        "0.48 and 0.6 are unstable on Fashion-MNIST.",
        "A seed fails if it does not end trained. By the shares seen, which so few seeds know "
        "within wide bounds: supported if at each rate at least half fail, refuted if none does at "
        "any, mixed otherwise.",
        partial(unstable, dataset="fashion_mnist", rates=(0.48, 0.6)),
    ),
    Claim(
        "exploding",
        "… and the cause is exploding gradients.",
        "Of the seeds that are lost at these rates, how many explode: they end non-finite. This "
        "tells the kind of loss; what clipping saves bears on the cause. Supported if all explode "
        "and, where the rung has a clipped twin, clipping saves all; refuted if none explodes or "
        "clipping saves none; mixed otherwise; not testable if fewer than three are lost.",
        partial(exploding, dataset="fashion_mnist", rates=(0.48, 0.6)),
    ),
    Claim(
        "nan",
        "0.384 is unstable on Fashion-MNIST (the notebook's nan).",
        "As for 0.48 and 0.6.",
        partial(unstable, dataset="fashion_mnist", rates=(0.384,)),
    ),
    Claim(
        "clipping",
        "Gradient clipping improves robustness.",
        "How many seeds, of both datasets, train at more rates with it than without, how many at "
        "fewer; and the rate at which each seed breaks. Supported if either is significantly "
        "better and neither worse, refuted if either is worse and neither better, mixed if they "
        "disagree.",
        more_robust,
        lambda evidence: evidence.clipped,
    ),
    Claim(
        "scheduling",
        "Learning-rate scheduling improves robustness.",
        "As for clipping.",
        more_robust,
        lambda evidence: evidence.scheduled,
    ),
    *(
        Claim(
            f"sparser_{dataset}",
            f"Large steps lead to sparser features ({title}).",
            "Share of active, distinct units in the last hidden layer, over the rates at which "
            "every seed trains. Supported if it falls with the rate, refuted if it rises, each "
            "significantly.",
            partial(sparser, dataset=dataset),
        )
        for dataset, title in (("mnist", "MNIST"), ("fashion_mnist", "Fashion-MNIST"))
    ),
    Claim(
        "printed",
        "The README's example numbers (0.1: 97.63 %, 0.2: 97.49 %, 0.384: 96.92 %) are what its "
        "notebook gives.",
        "Supported if they are the notebook's own output, to the digit; mixed if they are not but "
        "each lies where one more run of its protocol that trains would; refuted otherwise.",
        partial(
            printed,
            dataset="mnist",
            claimed=published.README_ACCURACY,
            notebook=published.NOTEBOOK_ACCURACY["mnist"],
        ),
        lambda evidence: evidence.rungs[:1],
    ),
    Claim(
        "usable",
        "1e-5, “conventional for stability”, is usable here.",
        "Supported if every seed trains and reaches the threshold within the run, on every "
        "dataset; refuted if none does; mixed otherwise.",
        partial(usable, rate=1e-5),
        with_rate(1e-5),
    ),
)


def headline(findings: Mapping[str, Finding]) -> Verdict:
    """Sum up a claim: the verdict on core or, where core does not bear on it, the common one."""
    if CORE in findings:
        return findings[CORE].verdict
    verdicts = {finding.verdict for finding in findings.values()}
    if not verdicts:
        return Verdict.UNTESTABLE
    return verdicts.pop() if len(verdicts) == 1 else Verdict.MIXED
