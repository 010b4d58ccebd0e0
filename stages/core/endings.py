"""How each network of a run ended, what it scored last and how fast it learned."""

import numpy as np
import pandas as pd

from stages.core.runs import Tables

OUTCOMES = ["trained", "collapsed", "exploded"]
MEASURED = {
    "validation_accuracy": "validation_accuracy",
    "test_accuracy": "test_accuracy",
    "test_mape": "test_mape",
    "test_loss": "test_loss",
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "gradient_norm": "gradient_norm_mean",
    "relative_update": "relative_update_mean",
    "noise_scale": "noise_scale",
}
"""Column of the endings → column of the history, of which it is the last epoch."""


def endings(run: Tables, threshold_accuracy: float, trained_accuracy: float) -> pd.DataFrame:
    """Sum up each network of a run in a row, by seed.

    A network diverged when the loss of a step was not finite; its accuracy then is that of
    predicting one class, and its losses are missing. Steps to the threshold are those before the
    first evaluation of the validation split that reached it, missing where none did.

    Args:
        run: The small part of a run.
        threshold_accuracy: Validation accuracy, 0 to 1, that networks are timed to.
        trained_accuracy: As in `outcomes`.
    """
    rows = pd.DataFrame(run.facts["networks"]).set_index("seed")
    rows = rows.reindex(columns=["diverged", "epoch", "step", "last_gradient_norms"])
    rows = rows.rename(columns={"epoch": "diverged_epoch", "step": "diverged_step"})
    whole = ["diverged_epoch", "diverged_step"]
    rows[whole] = rows[whole].astype("Int64")
    rows["last_gradient_norms"] = rows["last_gradient_norms"].map(
        lambda norms: " ".join(f"{norm:.4g}" for norm in norms), na_action="ignore"
    )
    final = run.history.drop_duplicates("seed", keep="last").set_index("seed")
    final = final.replace([np.inf, -np.inf], np.nan)
    for column, source in MEASURED.items():
        rows[column] = final[source]
    rows.insert(0, "outcome", outcomes(rows, trained_accuracy))
    rows.insert(1, "chance_accuracy", run.facts["chance_accuracy"])
    reached = run.validation[run.validation["accuracy"] >= threshold_accuracy]
    rows["steps_to_threshold"] = reached.groupby("seed")["step"].min()
    return rows


def outcomes(rows: pd.DataFrame, trained_accuracy: float) -> pd.Series:
    """Say how each network ended, by rule.

    exploded: the loss of some step was not finite. collapsed: always finite, yet in the last epoch
    its training accuracy is below `trained_accuracy`. trained: the rest.
    """
    names = np.select(
        [rows["diverged"].astype(bool), rows["train_accuracy"] < trained_accuracy],
        ["exploded", "collapsed"],
        default="trained",
    )
    return pd.Series(names, index=rows.index)
