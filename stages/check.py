"""Check the whole of params.yaml before anything runs, and clear away what it no longer names."""

import argparse
import math
import shutil
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Self

import psutil
from pydantic import ConfigDict, model_validator

from stages.audit.training.recipes import RecipeParams
from stages.common.datasets import CLASSES, SIDE
from stages.common.errors import UserError, run
from stages.common.parameters import CANDIDATE, Split, broken_rule, checked, read_yaml
from stages.common.whole_files import whole_file
from stages.diagnostics.parameters import MOST_PRODUCTS, DiagnoseParams
from stages.results.parameters import AggregateParams
from stages.training.parameters import CandidateParams, Training

COPIES = 3
"""How often a stage holds its results as it ends: from its workers, joined, and being written."""
FLOAT32_BYTES = 4
Tree = Mapping[str, "Tree"]
"""Name of a folder → the tree of folders inside it. If that is empty, the inside is not checked."""


class Params(CandidateParams, DiagnoseParams, AggregateParams, RecipeParams):
    """The whole of params.yaml: what every layer reads, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Split

    @model_validator(mode="after")
    def _every_dataset_has_a_threshold(self) -> Self:
        for key, known in (
            ("outcome.threshold_accuracy", self.outcome.threshold_accuracy),
            ("audit.lower_threshold_accuracy", self.audit.lower_threshold_accuracy),
        ):
            for dataset in self.datasets:
                if dataset not in known:
                    raise broken_rule(
                        f"{key}.{dataset} is missing: "
                        f"give an accuracy from 0 up to, not including, 1"
                    )
        return self


def memory_bytes(params: Params) -> dict[str, int]:
    """Estimate how much memory one stage takes at least.

    Training keeps the parameters after every epoch, or for most of the audit's recipes after the
    last one, and the measurements of every step. The search for the largest curvature keeps vectors
    as long as the list of parameters.

    Returns:
        The keys of params.yaml that decide it → bytes: for training one rate, training each recipe,
        and measuring one network.
    """
    layers = [*pairwise((SIDE**2, *params.network.hidden, CLASSES))]
    parameters = sum((inputs + 1) * outputs for inputs, outputs in layers)
    archive = 1_498 if params.datasets == ("digits",) else 60_000
    examples = archive * (1 - params.split.validation_fraction)

    def of_steps(training: Training) -> int:
        # The gradient norm of each layer, and five numbers of the whole network.
        return training.epochs * math.ceil(examples / training.batch_size) * (len(layers) + 5)

    def of_ends(training: Training) -> int:
        return (training.epochs + 1) * parameters

    core = params.training
    needs = {
        "seeds × network.hidden × training.epochs": len(params.seeds)
        * COPIES
        * (of_ends(core) + of_steps(core)),
        "network.hidden": MOST_PRODUCTS * parameters,
    }
    for name in (*params.audit.ladder, *params.audit.apart):
        recipe = params.audit.recipes[name]
        training, rates = params.changed(recipe), len(params.rates_of(recipe))
        kept = of_ends(training) if recipe.by_epoch else parameters
        needs[f"audit.networks × the rates and epochs of audit.recipes.{name}"] = (
            params.audit.networks
            * (of_ends(training) + COPIES * rates * (kept + of_steps(training)))
        )
    return {keys: FLOAT32_BYTES * numbers for keys, numbers in needs.items()}


def refuse_what_memory_cannot_hold(params: Params, path: Path) -> None:
    """Refuse a study of which one stage takes more than all the memory of this machine.

    Raises:
        UserError: Says which numbers are too large, what they take and what there is.
    """
    has = psutil.virtual_memory().total
    for keys, takes in memory_bytes(params).items():
        if takes > has:
            raise UserError(
                f"{path}: {keys}: one stage takes {takes / 1e9:.1f} GB of memory, and this machine "
                f"has {has / 1e9:.1f} GB: give fewer seeds, narrower layers, fewer epochs or "
                f"larger batches"
            )


def leftovers(params: Params, data: Path, metrics: Path) -> Iterator[Path]:
    """Find what belongs to datasets, learning rates and recipes that params.yaml does not name.

    A stage that depends on a whole folder would count such leftovers among its inputs. DVC names
    the folder of a learning rate as Python prints the number: 0.001 for 1e-3.

    Args:
        params: The content of params.yaml.
        data: The folder of runs/<dataset>/<rate>, diagnostics/<dataset>/<rate> and
            audit/<dataset>/<recipe>/<group>.
        metrics: The folder of runs/<dataset>/<rate> and of audit/cells/<dataset>/<recipe>/<group>.
    """
    audit = params.audit
    rates: Tree = {rate: {} for rate in (CANDIDATE, *map(str, params.learning_rates))}
    groups: Tree = {str(group): {} for group in audit.groups}
    first: Tree = {str(audit.groups[0]): {}}
    cells: Tree = dict.fromkeys(audit.ladder, groups) | dict.fromkeys(audit.apart, first)
    for place, named in (
        (data / "runs", rates),
        (data / "diagnostics", rates),
        (data / "audit", cells),
        (metrics / "runs", rates),
        (metrics / "audit" / "cells", cells),
    ):
        yield from _unnamed(place, dict.fromkeys(params.datasets, named))


def _unnamed(place: Path, named: Tree) -> Iterator[Path]:
    """Find the folders below a place that a tree of names does not have."""
    for folder in filter(Path.is_dir, visible(place)):
        if folder.name not in named:
            yield folder
        elif named[folder.name]:
            yield from _unnamed(folder, named[folder.name])


def visible(folder: Path) -> list[Path]:
    """List what lies in a folder, in order; links and what is hidden are not ours.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return sorted(each for each in folder.glob("[!.]*") if not each.is_symlink())
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read ({error.strerror}): allow yourself to read it"
        ) from None


def remove(leftover: Path) -> None:
    """Delete a folder with all that it holds.

    Raises:
        UserError: It cannot be deleted.
    """
    try:
        shutil.rmtree(leftover)
    except OSError as error:
        raise UserError(
            f"{leftover}, which params.yaml no longer names, cannot be removed "
            f"({error.strerror}): remove it by hand"
        ) from None


def main() -> None:
    """Check params.yaml, clear away leftovers, and write a file that never changes.

    Every other stage depends on that file, so no stage runs with a wrong params.yaml. The content
    of the file stays the same, so a new check does not make other stages run again.
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
