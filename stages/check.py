"""Check the whole of params.yaml before anything runs, and clear away what it no longer names."""

import argparse
import math
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Self

import psutil
from pydantic import ConfigDict, model_validator

from stages.audit.training.parameters import CORE, Audit
from stages.common.datasets import CLASSES, SIDE
from stages.common.errors import UserError, run
from stages.common.parameters import Split, broken_rule, checked, read_yaml
from stages.common.whole_files import whole_file
from stages.diagnostics.parameters import DiagnoseParams
from stages.results.parameters import AggregateParams
from stages.training.parameters import CandidateParams

COPIES = 3
"""Of its results, when a stage ends: as its workers gave them, joined, and as they are written."""
FLOAT32_BYTES = 4


class Params(CandidateParams, DiagnoseParams, AggregateParams):
    """The whole of params.yaml: what every layer reads, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split
    audit: Audit

    @model_validator(mode="after")
    def _every_dataset_has_a_threshold(self) -> Self:
        for dataset in self.datasets:
            if dataset not in self.outcome.threshold_accuracy:
                raise broken_rule(
                    f"outcome.threshold_accuracy.{dataset} is missing: "
                    f"give an accuracy from 0 up to, not including, 1"
                )
        return self


def memory_bytes(params: Params) -> dict[str, int]:
    """Estimate what the results of one stage take in memory, at least, when it ends.

    Training keeps the parameters after every epoch, and what every step was like. A recipe of the
    audit keeps the steps of all its learning rates, but of their parameters the last.

    Returns:
        By the key of the seeds: what training one rate takes, and what one recipe takes.
    """
    recipe, audit = params.training, params.audit
    layers = [*pairwise((SIDE**2, *params.network.hidden, CLASSES))]
    parameters = sum((inputs + 1) * outputs for inputs, outputs in layers)
    archive = 1_498 if params.datasets == ("digits",) else 60_000
    examples = archive * (1 - params.split.validation_fraction)
    # The gradient norm of each layer, and five numbers of the whole network.
    steps = recipe.epochs * math.ceil(examples / recipe.batch_size) * (len(layers) + 5)
    ends = (recipe.epochs + 1) * parameters
    rates = max(len(audit.recipes[name].rates or params.learning_rates) for name in audit.ladder)
    rate, rung = COPIES * (ends + steps), ends + COPIES * rates * (parameters + steps)
    return {
        "seeds": FLOAT32_BYTES * len(params.seeds) * rate,
        "audit.seeds": FLOAT32_BYTES * len(audit.seeds) * rung,
    }


def refuse_what_memory_cannot_hold(params: Params, path: Path) -> None:
    """Refuse a study of which one stage takes more than all the memory of this machine.

    Raises:
        UserError: Says which numbers are too large, what they take and what there is.
    """
    has = psutil.virtual_memory().total
    networks = {"seeds": len(params.seeds), "audit.seeds": len(params.audit.seeds)}
    for key, takes in memory_bytes(params).items():
        if takes > has:
            raise UserError(
                f"{path}: {key} × network.hidden × training.epochs = "
                f"{networks[key]} × {list(params.network.hidden)} × {params.training.epochs}: "
                f"takes {takes / 1e9:.1f} GB of memory, and this machine has {has / 1e9:.1f} GB: "
                f"give fewer seeds, narrower layers, fewer epochs or larger batches"
            )


def leftovers(params: Params, data: Path, metrics: Path) -> Iterator[Path]:
    """Find what belongs to datasets, learning rates and recipes that params.yaml does not name.

    A stage that depends on a whole folder would take it for its own. DVC names the folder of a
    learning rate as Python prints the number: 0.001 for 1e-3.

    Args:
        params: What is named.
        data: The folder of runs/<dataset>/<rate>, diagnostics/<dataset>/<rate> and
            audit/rungs/<dataset>/<recipe>.
        metrics: The folder of runs/<dataset>/<rate> and of audit/<dataset>/<table>.csv.
    """
    audit = params.audit
    rates = {"candidate", *map(str, params.learning_rates)}
    tables = {f"{recipe}.csv" for recipe in audit.ladder}
    tables |= {f"boundary-{recipe}.csv" for recipe in (CORE, *audit.boundaries)}
    for place, named, is_ours in (
        (data / "runs", rates, Path.is_dir),
        (data / "diagnostics", rates, Path.is_dir),
        (data / "audit" / "rungs", {*audit.ladder}, Path.is_dir),
        (metrics / "runs", rates, Path.is_dir),
        (metrics / "audit", tables, Path.is_file),
    ):
        for dataset in filter(Path.is_dir, visible(place)):
            if dataset.name not in params.datasets:
                yield dataset
            else:
                yield from (
                    each for each in visible(dataset) if is_ours(each) and each.name not in named
                )


def visible(folder: Path) -> list[Path]:
    """List what lies in a folder, in order; links and what is hidden are not ours."""
    return sorted(each for each in folder.glob("[!.]*") if not each.is_symlink())


def remove(leftover: Path) -> None:
    """Delete a folder with all that it holds, or a file.

    Raises:
        UserError: It cannot be deleted.
    """
    try:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    except OSError as error:
        raise UserError(
            f"{leftover}, which params.yaml no longer names, cannot be removed "
            f"({error.strerror}): remove it by hand"
        ) from None


def main() -> None:
    """Check params.yaml, clear away leftovers, and write a file that never changes.

    Every other stage depends on that file, so that none runs with a params.yaml that is wrong, and
    none is stale because params.yaml changed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    params = checked(Params, read_yaml(arguments.params), arguments.params)
    refuse_what_memory_cannot_hold(params, arguments.params)
    for leftover in leftovers(params, arguments.data, arguments.metrics):
        remove(leftover)
    with whole_file(arguments.data / "checked.txt") as draft:
        draft.write_text("params.yaml is valid.\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
