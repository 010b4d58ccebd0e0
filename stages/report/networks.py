"""The networks of one dataset, as the linked view shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from stages.figures.rates import Rate, rates_of
from stages.figures.study import RANK, SPARSITY, WHICH_NETWORK, Study, of_dataset, until_lost
from stages.figures.theme import LIGHT, SMALLEST_ERROR
from stages.report.look import colours_of_rates

TRAINED = {
    "test_accuracy": "test_accuracy",
    "train_loss": "train_loss",
    "gradient_norm_mean": "gradient_norm",
}
"""Column of the history → its name here."""


@dataclass(frozen=True)
class Networks:
    """Tables of one dataset's networks. The column `network` has a network's name."""

    rates: Sequence[Rate]
    colours: Sequence[str]
    """One for each rate."""
    seeds: pd.DataFrame
    """The rows of metrics/seeds.csv, with rate and network."""
    epochs: pd.DataFrame
    """One row per network and epoch from 0, until it is lost: rate, network, epoch, test_accuracy,
    test_error, train_loss, gradient_norm, active, rank, sharpness."""
    losses: pd.DataFrame
    """One row per lost network: rate, network, at (in epochs from 0), epoch, step, how."""


def networks_of(study: Study, dataset: str) -> Networks:
    """Collect one dataset's networks."""
    rates = rates_of(study.seeds, LIGHT)
    seeds = named(of_dataset(study.seeds, dataset), rates)
    colours = colours_of_rates(study.seeds)
    return Networks(rates, colours, seeds, epochs_of(study, seeds), losses_of(study, seeds))


def named(seeds: pd.DataFrame, rates: Sequence[Rate]) -> pd.DataFrame:
    """Name each network of a table, and its rate."""
    by_run = {(rate.role, rate.learning_rate): rate.name for rate in rates}
    runs = zip(seeds["role"], seeds["learning_rate"], strict=True)
    rate = pd.Series([by_run[run] for run in runs], seeds.index, dtype=object)
    # A copy holds its columns together: pandas complains when hundreds lie apart.
    return seeds.copy().assign(rate=rate, network=rate + ", seed " + seeds["seed"].astype(str))


def epochs_of(study: Study, seeds: pd.DataFrame) -> pd.DataFrame:
    """Join the history of some networks with their diagnostics: one row per network and epoch."""
    last = study.layers[-1]
    measured = {f"{SPARSITY}_{last}": "active", f"{RANK}_{last}": "rank", "sharpness": "sharpness"}
    key = [*WHICH_NETWORK, "epoch"]
    history = study.history[[*key, *TRAINED]].rename(columns=TRAINED)
    diagnostics = study.diagnostics[[*key, *measured]].rename(columns=measured)
    known = until_lost(history.merge(diagnostics, on=key, how="outer"), study.seeds)
    rows = seeds[[*WHICH_NETWORK, "rate", "network"]].merge(known, on=WHICH_NETWORK)
    rows["test_error"] = (1 - rows["test_accuracy"]).clip(lower=SMALLEST_ERROR)
    return rows.drop(columns=[*WHICH_NETWORK, "lost_epoch"])


def losses_of(study: Study, seeds: pd.DataFrame) -> pd.DataFrame:
    """Say when some networks were lost."""
    lost = seeds[seeds["outcome"] == "lost"]
    steps_per_epoch = study.history.merge(seeds[WHICH_NETWORK]).query("epoch == 1")["step"].max()
    return pd.DataFrame(
        {
            "rate": lost["rate"],
            "network": lost["network"],
            "at": lost["lost_step"] / steps_per_epoch,
            "epoch": lost["lost_epoch"].astype(int),
            "step": lost["lost_step"].astype(int),
            "how": lost["lost_how"],
        }
    )
