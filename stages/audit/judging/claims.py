"""The specification of the published claims: what each one compares, and what decides it.

Each claim is a list of comparisons, on the recipe core unless another one is named. The file
docs/audit-protocol.md explains the tests; `tested` and `statistics` compute them. A claim is

supported   if each comparison is as it says (one of them is enough where `needs` is "any");
refuted     if one comparison is the other way round, or excludes a gain as large as its margin;
equivalent  if each difference is smaller than its margin;
undecided   otherwise;
not run     if a cell that it names has no network.
"""

from dataclasses import dataclass
from typing import Literal

from stages.audit.judging.comparisons import (
    Bound,
    Comparison,
    Difference,
    Interaction,
    Matched,
    NoSurvivor,
    Quantity,
    SameNumbers,
    Shares,
)
from stages.audit.judging.evidence import Cell, Favourite, Side
from stages.audit.judging.published import NOTEBOOK_ACCURACY, README_ACCURACY
from stages.audit.judging.rungs import CORE

SEEDS = 20
"""Networks per cell that were declared beforehand: two groups of ten. With fewer, all verdicts are
provisional."""

# ----------------------------------------- the quantities, and the smallest difference that matters

POINTS = {"mnist": 0.2, "fashion_mnist": 0.5}
BURST = 50.0
"""A gradient norm above this is a burst."""
UNSTABLE = 0.25
"""Unstable: more than this share of the networks is lost."""
MOST = 0.8
"""Nearly all: at least this share."""

TEST_ACCURACY = Quantity("test_accuracy", "test accuracy", "higher", POINTS)
FIRST_EPOCH = Quantity("first_epoch_accuracy", "accuracy after the first epoch", "higher", POINTS)
STEPS = Quantity("steps_to_threshold", "steps to the threshold", "fewer", 1.1, unit="factor")
STEPS_LOWER = Quantity(
    "steps_to_lower_threshold", "steps to the lower threshold", "fewer", 1.1, unit="factor"
)
ACTIVE = Quantity("feature_sparsity", "active features", "fewer", 1.0, lost="is left out")

# ------------------------------------------------------------------------------------- the cells

MNIST, FASHION = "mnist", "fashion_mnist"
BASE = 0.1
"""The smallest rate."""
LARGEST = (0.48, 0.6)
STEEP = (0.44, 0.52, 0.56)
"""Further rates of core, where the share lost rises steeply."""
FAVOURED = Favourite((0.1, 0.2))


def cells(dataset: str, *rates: float, recipe: str = CORE) -> Side:
    """Pool the cells of some rates."""
    return tuple(Cell(dataset, recipe, rate) for rate in rates)


def against_base(quantity: Quantity, dataset: str, *rates: float) -> tuple[Comparison, ...]:
    """Compare each rate with the smallest one; the claim is that each is better."""
    base = cells(dataset, BASE)
    return tuple(Difference(quantity, cells(dataset, rate), base) for rate in rates)


def unstable(dataset: str, *rates: float) -> tuple[Comparison, ...]:
    """Compare the share lost at each rate with a quarter, and with that at the smallest rate.

    The claim is that it is larger than both. A share below a quarter refutes the claim. If the
    smallest rate loses as many networks, the claim is undecided: the rate may not be the cause.
    """
    base = cells(dataset, BASE)
    return (
        *(Bound("lost", cells(dataset, rate), UNSTABLE) for rate in rates),
        *(Shares(cells(dataset, rate), base, "more", can_refute=False) for rate in rates),
    )


def saves(recipe: str, *datasets: str) -> tuple[Comparison, ...]:
    """Compare a recipe with core; the claim is that it loses fewer at the largest rates."""
    return tuple(
        Shares(cells(dataset, *LARGEST, recipe=recipe), cells(dataset, *LARGEST), "fewer")
        for dataset in datasets
    )


def arms(quantity: Quantity, *pairs: tuple[str, str]) -> tuple[Comparison, ...]:
    """Compare pairs of arms on both datasets; the claim is that the first of each is better."""
    return tuple(
        Matched(quantity, dataset, arm, against)
        for dataset in (MNIST, FASHION)
        for arm, against in pairs
    )


LARGE_THEN_SMALL = (("large_1", "small"), ("large_5", "small"), ("large_10", "small"))
STEEP_CORE = (*cells(FASHION, *LARGEST), *cells(FASHION, *STEEP, recipe="core_steep"))
FAVOURITE = (Cell(FASHION, CORE, FAVOURED, upper_half=True),)


# ------------------------------------------------------------------------------------ the claims


@dataclass(frozen=True, eq=False)
class Claim:
    """A sentence of the published study, and what decides it."""

    key: str
    title: str
    """In a few words."""
    statement: str
    compared: str
    """What is compared, for readers."""
    comparisons: tuple[Comparison, ...]
    needs: Literal["each", "any"] = "each"


CLAIMS = (
    Claim(
        "faster",
        "Faster on MNIST",
        "Larger rates converge faster on MNIST.",
        "Steps until 95 %, and until 90 %, of new training images are classified correctly, at "
        "0.2, 0.3, 0.384 and 0.48 against 0.1. Each has to need fewer.",
        (
            *against_base(STEPS, MNIST, 0.2, 0.3, 0.384, 0.48),
            *against_base(STEPS_LOWER, MNIST, 0.2, 0.3, 0.384, 0.48),
        ),
    ),
    Claim(
        "better",
        "Better on MNIST",
        "Larger rates (0.2, 0.3) perform better on MNIST.",
        "Test accuracy after the last epoch at 0.2 and 0.3 against 0.1. Both have to be higher.",
        against_base(TEST_ACCURACY, MNIST, 0.2, 0.3),
    ),
    Claim(
        "best",
        "0.3 is best on MNIST",
        "0.3 is the best rate for MNIST.",
        "Test accuracy after the last epoch at 0.3 against every other rate. It has to be higher "
        "than each.",
        tuple(
            Difference(TEST_ACCURACY, cells(MNIST, 0.3), cells(MNIST, rate))
            for rate in (0.1, 0.2, 0.384, 0.48, 0.6)
        ),
    ),
    Claim(
        "favours",
        "0.1 or 0.2 on Fashion-MNIST",
        "Fashion-MNIST favours 0.1 or 0.2.",
        "Test accuracy after the last epoch at the better of the two against 0.3, 0.384, 0.48 and "
        "0.6. Which of the two is better is decided by validation accuracy in the lower half of "
        "the seeds; the comparison uses the upper half. It has to be higher than each.",
        tuple(
            Difference(TEST_ACCURACY, FAVOURITE, (Cell(FASHION, CORE, rate, upper_half=True),))
            for rate in (0.3, 0.384, 0.48, 0.6)
        ),
    ),
    Claim(
        "unstable",
        "0.48, 0.6 unstable on Fashion-MNIST",
        "0.48 and 0.6 are unstable on Fashion-MNIST.",
        "The share of networks lost at 0.48 and at 0.6. Each has to lie above 25 %, and above "
        "that at 0.1.",
        unstable(FASHION, *LARGEST),
    ),
    Claim(
        "exploding",
        "The cause: exploding gradients",
        "… and the cause is exploding gradients.",
        "Core at 0.44 to 0.6. At least 80 % of the lost networks must have a burst (a gradient "
        "norm above 50) when they break down or later. How much later is not asked: some had "
        "decayed long before (docs/audit.md). At least 80 % of the networks with a burst have to "
        "be lost, and no trained network may have had one. At 0.48 and 0.6 clipping has to lose "
        "fewer. A few trained networks with a burst leave the claim undecided. It is refuted if "
        "fewer than 80 % of the networks with a burst are lost, if fewer than 80 % of the lost "
        "have one, or if clipping does not save as many as the margin.",
        (
            Bound("burst first", STEEP_CORE, MOST, among="lost"),
            Bound("lost", STEEP_CORE, MOST, among="burst", norm=BURST),
            NoSurvivor(STEEP_CORE, BURST),
            *saves("clipped", FASHION),
        ),
    ),
    Claim(
        "unstable_0384",
        "0.384 unstable on Fashion-MNIST",
        "0.384 is unstable on Fashion-MNIST (the notebook's nan).",
        "The share of networks lost at 0.384. It has to lie above 25 %, and above that at 0.1.",
        unstable(FASHION, 0.384),
    ),
    Claim(
        "clipping",
        "Clipping: more robust",
        "Gradient clipping improves robustness.",
        "The share of networks lost at 0.48 and 0.6, both rates together, clipped against core. "
        "Fewer have to be lost on both datasets.",
        saves("clipped", MNIST, FASHION),
    ),
    Claim(
        "scheduling",
        "Scheduling: more robust",
        "Learning-rate scheduling improves robustness.",
        "The share of networks lost at 0.48 and 0.6, both rates together, warm-up + cosine against "
        "core. Fewer have to be lost on both datasets.",
        saves("warmup_cosine", MNIST, FASHION),
    ),
    Claim(
        "sparser_mnist",
        "Sparser on MNIST",
        "Large steps lead to sparser features (MNIST).",
        "The share of active features in the last hidden layer at 0.2, 0.3 and 0.384 against 0.1. "
        "Each has to be smaller. Lost networks are left out.",
        against_base(ACTIVE, MNIST, 0.2, 0.3, 0.384),
    ),
    Claim(
        "sparser_fashion_mnist",
        "Sparser on Fashion-MNIST",
        "Large steps lead to sparser features (Fashion-MNIST).",
        "The share of active features in the last hidden layer at 0.2, 0.3 and 0.384 against 0.1. "
        "Each has to be smaller. Lost networks are left out.",
        against_base(ACTIVE, FASHION, 0.2, 0.3, 0.384),
    ),
    Claim(
        "printed",
        "The published numbers",
        "The example numbers in the study's README (0.1: 97.63 %, 0.2: 97.49 %, 0.384: 96.92 %) "
        "are what its notebook gives.",
        "The numbers printed in the student study's README are compared with the output of its "
        "notebook. They have to be equal to the last digit.",
        (SameNumbers(README_ACCURACY, NOTEBOOK_ACCURACY[MNIST]),),
    ),
    Claim(
        "usable",
        "1e-5 is usable",
        "1e-5, “conventional for stability”, is usable here.",
        "The share of networks, of both datasets, that reach the threshold (95 % on MNIST, 80 % on "
        "Fashion-MNIST) within the run and end trained. It has to lie above 80 %.",
        (
            Bound(
                "learned",
                (
                    *cells(MNIST, 1e-5, recipe="conventional"),
                    *cells(FASHION, 1e-5, recipe="conventional"),
                ),
                MOST,
            ),
        ),
    ),
    Claim(
        "first_epoch",
        "Better after one epoch",
        "Larger rates (0.2, 0.3, 0.384) reach higher accuracy in the first epoch.",
        "Validation accuracy after the first epoch at 0.2, 0.3 and 0.384 against 0.1, on both "
        "datasets. Each has to be higher.",
        (
            *against_base(FIRST_EPOCH, MNIST, 0.2, 0.3, 0.384),
            *against_base(FIRST_EPOCH, FASHION, 0.2, 0.3, 0.384),
        ),
    ),
    Claim(
        "depends",
        "Depends on the dataset",
        "The benefits depend on the dataset.",
        "What 0.2 and 0.384 gain in test accuracy over 0.1, in margins (0.2 points on MNIST, 0.5 "
        "on Fashion-MNIST): on MNIST against Fashion-MNIST. One of them has to differ.",
        tuple(
            Interaction(
                TEST_ACCURACY,
                (cells(MNIST, rate), cells(MNIST, BASE)),
                (cells(FASHION, rate), cells(FASHION, BASE)),
            )
            for rate in (0.2, 0.384)
        ),
        needs="any",
    ),
    Claim(
        "large_steps",
        "Mechanism: large steps",
        "It is large steps, not undertraining, that lead to sparser features.",
        "Active features of networks trained at 0.384 for 1, 5 or 10 epochs and then at 0.1, "
        "against 0.1 throughout, each at the first epoch whose training loss is at most a bound. "
        "The bound is the median final loss of the slowest of these arms; networks that never "
        "reach it are left out. Each arm has to have fewer, on both datasets.",
        arms(ACTIVE, *LARGE_THEN_SMALL),
    ),
    Claim(
        "noise",
        "Mechanism: noise",
        "More gradient noise leads to sparser features, at the same step size.",
        "Active features at 0.1 with batches of 8 against 0.1 with batches of 32, on both "
        "datasets. They have to be fewer. Where fewer than half of the networks of an arm reach "
        "the bound on the training loss, both arms are compared after the last epoch, at unequal "
        "losses; the table says so.",
        arms(ACTIVE, ("small_batch", "small")),
    ),
    Claim(
        "step_size",
        "Mechanism: step size",
        "The step's size leads to sparser features beyond its noise.",
        "Active features where the rate differs and rate / batch size hardly does: 0.384 with "
        "batches of 123 against 0.1 with 32 (0.1 % apart), and 0.384 with 32 against 0.1 with 8 "
        "(0.0120 and 0.0125, 4 % apart). The larger rate has to have fewer in both, on both "
        "datasets. Equivalent means: noise alone explains it. Equal or unequal training loss as "
        "for the claim before.",
        arms(ACTIVE, ("large_batch", "small"), ("large", "small_batch")),
    ),
    Claim(
        "predictors",
        "Mechanism: better predictors",
        "Networks with a large step first are better predictors.",
        "Test accuracy of networks trained at 0.384 for 1, 5 or 10 epochs and then at 0.1, against "
        "0.1 throughout, at equal training loss. Each has to be higher, on both datasets.",
        arms(TEST_ACCURACY, *LARGE_THEN_SMALL),
    ),
    Claim(
        "insights",
        "The paper's insights",
        "These results affirm the paper's theoretical insights.",
        "All comparisons of three claims above: large steps leave fewer active features at equal "
        "training loss, noise does too, and the networks predict better.",
        (
            *arms(ACTIVE, *LARGE_THEN_SMALL),
            *arms(ACTIVE, ("small_batch", "small")),
            *arms(TEST_ACCURACY, *LARGE_THEN_SMALL),
        ),
    ),
)
