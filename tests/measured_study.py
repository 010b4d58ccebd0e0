"""A measured study whose tables are known, and in which hardly any two numbers are equal."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.training.run_files import HISTORY

EPOCHS, STEPS_PER_EPOCH, CHANCE = 3, 40, {"mnist": 0.1135, "digits": 0.1}
PARAMS = "lr: 0.3\nlearning_rates: [1, 1e-05, 0.3]\ndatasets: [mnist, digits]\n"
LAYERED = ("positive_share", "never_firing_share", "feature_sparsity", "effective_rank")
PLACE = ["dataset", "role", "learning_rate"]
NETWORK = [*PLACE, "seed"]
ENDING = ["outcome", "lost_epoch", "lost_step", "lost_how"]
WHOLE_RUN = ["running_accuracy", "steps_to_threshold", "peak_gradient_norm"]
SCORES = {
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
"""Column of seeds.csv → column of history.csv."""
DIAGNOSTICS = ["sharpness", *(f"{quantity}_{layer}" for quantity in LAYERED for layer in (1, 2))]
SEEDS = [*NETWORK, *ENDING, "chance_accuracy", *SCORES, *WHOLE_RUN, *DIAGNOSTICS]

ENDS = """
dataset role     learning_rate seed outcome lost_epoch lost_step lost_how \
validation_accuracy test_accuracy test_loss train_loss steps_to_threshold feature_sparsity_2
mnist  grid      1     9  lost         1   17 exploded  0.112 0.113 nan  nan    -  -
mnist  grid      1     7  lost         3  118 collapsed 0.104 0.107 2.31 2.32   29 0.001
mnist  grid      1    42  lost         2   44 exploded  0.111 0.108 inf  inf    33 -
mnist  grid      1     8  lost         2   45 collapsed 0.110 0.109 2.33 2.34   -  0.002
mnist  grid      1e-5  9  undertrained -    - -         0.21  0.23  2.21 2.22   -  0.47
mnist  grid      1e-5  7  undertrained -    - -         0.22  0.24  2.23 2.24   -  0.48
mnist  grid      1e-5 42  undertrained -    - -         0.25  0.27  2.25 2.26   -  0.49
mnist  grid      1e-5  8  undertrained -    - -         0.26  0.28  2.27 2.28   -  0.46
mnist  grid      0.3   9  lost         2   71 collapsed 0.32  0.31  2.41 2.42   27 0.004
mnist  grid      0.3   7  trained      -    - -         0.883 0.872 0.51 0.4321 28 0.234
mnist  grid      0.3  42  undertrained -    - -         0.34  0.36  1.91 1.92   -  0.45
mnist  grid      0.3   8  lost         3 1200345 exploded 0.099 0.102 nan  inf 1000031 -
mnist  candidate 0.3   9  lost         1    5 exploded  0.097 0.095 nan  nan    -  -
mnist  candidate 0.3   7  lost         2   52 exploded  0.096 0.094 nan  nan    -  -
mnist  candidate 0.3  42  undertrained -    - -         0.37  0.39  1.71 1.72   -  0.44
mnist  candidate 0.3   8  lost         1    6 exploded  0.093 0.092 inf  nan    -  -
digits grid      1     9  trained      -    - -         0.95  0.80  0.61 0.0512 21 0.051
digits grid      1     7  lost         1   31 exploded  0.091 0.088 nan  inf    -  -
digits grid      1    42  lost         3  111 collapsed 0.61  0.63  1.81 1.82   35 0.003
digits grid      1     8  trained      -    - -         0.97  0.84  0.63 0.0534 25 0.073
digits grid      1e-5  9  trained      -    - -         0.90  0.93  0.31 0.2001 77 0.311
digits grid      1e-5  7  undertrained -    - -         0.41  0.43  1.61 1.62   -  0.43
digits grid      1e-5 42  trained      -    - -         0.92  0.95  0.33 0.2103 -  0.333
digits grid      1e-5  8  trained      -    - -         0.94  0.97  0.38 0.2305 79 0.363
digits grid      0.3   9  trained      -    - -         0.91  0.89  0.41 0.1001 38 0.121
digits grid      0.3   7  trained      -    - -         0.93  0.90  0.43 0.1102 39 0.132
digits grid      0.3  42  trained      -    - -         0.95  0.94  0.48 0.1303 46 0.153
digits grid      0.3   8  lost         2   63 exploded  0.087 0.086 nan  nan    30 -
digits candidate 0.3   9  trained      -    - -         0.96  0.98  0.11 0.0101 34 0.171
digits candidate 0.3   7  trained      -    - -         0.97  0.985 0.12 0.0102 36 0.172
digits candidate 0.3  42  trained      -    - -         0.98  0.975 0.14 0.0105 38 0.175
digits candidate 0.3   8  trained      -    - -         0.99  0.96  0.17 0.0109 45 0.190
"""
"""How each network ends. Of the rates of digits, 1 has the best validation accuracy, but only two
seeds train; of those at which three do, 0.3 is the best on validation, 1e-5 on test; the candidate,
a rate of the grid, is better than all."""


@dataclass(frozen=True)
class MeasuredStudy:
    """What is written into metrics/runs, and the tables it should become."""

    seeds: pd.DataFrame
    history: pd.DataFrame
    diagnostics: pd.DataFrame

    def write(self, runs: Path) -> None:
        """Write each run into <dataset>/<learning rate or candidate>/."""
        for _, networks in self.seeds.groupby(PLACE, sort=False):
            dataset, role, rate = networks[PLACE].iloc[0]
            folder = runs / dataset / ("candidate" if role == "candidate" else f"{rate:g}")
            folder.mkdir(parents=True)
            facts = {
                "dataset": dataset,
                "learning_rate": rate,
                "seeds": networks["seed"].tolist(),
                "epochs": EPOCHS,
                "batch_size": 32,
                "steps_per_epoch": STEPS_PER_EPOCH,
                "chance_accuracy": CHANCE[dataset],
            }
            (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
            history = self.history.merge(networks[NETWORK])
            measured = self.diagnostics.merge(networks[NETWORK])
            tables = {
                "history": history.drop(columns=PLACE).rename(
                    columns={"learning_rate_now": "learning_rate"}
                ),
                "networks": networks[["seed", *ENDING, *WHOLE_RUN]],
                "features": by_layer(measured, (1, 2)),
                "sharpness": measured[["seed", "epoch", "sharpness", "residual"]],
                "first_epoch": pd.DataFrame({"step": [1, 2], "gradient_norm": [3.5, 4.5]}),
                "bursts": pd.DataFrame(columns=["seed", "step", "loss", "gradient_norm"]),
            }
            for name, table in tables.items():
                table.to_csv(folder / f"{name}.csv", index=False)


def by_layer(measured: pd.DataFrame, layers: tuple[int, ...]) -> pd.DataFrame:
    """Lay the columns of the hidden layers below each other, as features.csv has them."""
    rows = [
        {"seed": network["seed"], "epoch": network["epoch"], "layer": layer}
        | {quantity: network[f"{quantity}_{layer}"] for quantity in LAYERED}
        for network in measured.to_dict("records")
        for layer in layers
    ]
    return pd.DataFrame(rows)


def measured_study() -> MeasuredStudy:
    """Make the study: what `ENDS` does not say is drawn at random."""
    generator = np.random.default_rng(0)

    def drawn(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
        numbers = generator.uniform(1, 9, (len(table), len(columns)))
        return table.assign(**dict(zip(columns, numbers.T, strict=True)))

    ends = pd.read_csv(io.StringIO(ENDS), sep=r"\s+", na_values="-")
    whole = ["lost_epoch", "lost_step", "steps_to_threshold"]
    ends = ends.astype(dict.fromkeys(whole, "Int64"))
    seeds = drawn(ends, [name for name in SEEDS if name not in ends])[SEEDS]
    seeds["chance_accuracy"] = seeds["dataset"].map(CHANCE)
    exploded = seeds["lost_how"] == "exploded"
    seeds.loc[exploded, ["gradient_norm", "noise_scale"]] = [np.inf, -np.inf]
    seeds.loc[exploded, DIAGNOSTICS] = np.nan
    # A trained network whose noise scale could not be estimated.
    seeds.loc[seeds["outcome"].eq("trained") & seeds["seed"].eq(42), "noise_scale"] = np.nan

    epochs = seeds[NETWORK].merge(pd.Series(range(EPOCHS + 1), name="epoch"), how="cross")
    last = epochs["epoch"] == EPOCHS
    diagnostics = drawn(epochs, ["sharpness", "residual", *DIAGNOSTICS[1:]])
    diagnostics.loc[last, DIAGNOSTICS] = seeds[DIAGNOSTICS].to_numpy()
    # Exploded networks were measured while they were finite.
    gone = np.repeat(exploded.to_numpy(), EPOCHS + 1) & (epochs["epoch"] > 1)

    history = drawn(epochs, [name for name in HISTORY if name not in ("seed", "epoch", "step")])
    history.insert(5, "step", history["epoch"] * STEPS_PER_EPOCH)
    history["learning_rate_now"] = epochs["learning_rate"] / (1 + epochs["epoch"])
    history["learning_rate"] = epochs["learning_rate"]
    history.loc[last, list(SCORES.values())] = seeds[list(SCORES)].to_numpy()
    columns = [*NETWORK, "epoch", "step", "learning_rate_now", *tuple(HISTORY)[4:]]
    history = history.loc[history["epoch"] > 0, columns]
    return MeasuredStudy(
        seeds, history.reset_index(drop=True), diagnostics[~gone].reset_index(drop=True)
    )
