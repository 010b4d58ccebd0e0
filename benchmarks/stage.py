"""How much time a training stage spends on other things than training, and its memory.

One epoch of all networks is trained in one process, and the other epochs are estimated from it.
Imports, loading and DVC are timed several times, each in its own process.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.contestants import RATE, Data
from stages.common.datasets import Prepared, load, save
from stages.common.errors import run
from stages.common.parameters import read_params
from stages.training import run_files
from stages.training.device import device_named, make_deterministic
from stages.training.loop import starting_stack, train_run
from stages.training.parameters import TrainParams
from stages.training.splits import Splits

ROUNDS = 5


def parts(data: Path) -> dict[str, float]:
    """Run a stage for one epoch; estimate its parts (seconds), measure its peak memory (MiB)."""
    declared = read_params(TrainParams, Path("params.yaml"))
    make_deterministic()
    epochs = declared.training.epochs
    one = declared.training.model_copy(update={"epochs": 1})
    once = declared.model_copy(update={"training": one})
    times = [time.perf_counter()]
    splits = Splits.of(
        load(Prepared, data, f"preprocess@{data.stem}"), declared.normalization, device_named("cpu")
    )
    times.append(time.perf_counter())
    stack = starting_stack(splits, once)
    trained = train_run(stack, splits, RATE, once, dataset=data.stem)
    times.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as scratch:
        run_files.save(trained, Path(scratch))
    times.append(time.perf_counter())
    loading, training, writing = (after - before for before, after in itertools.pairwise(times))
    return {
        "loading": loading,
        "training": training * epochs,
        "writing": writing * epochs,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "epochs": epochs,
    }


def seconds(command: list[str]) -> float:
    """Time a command: the median of several runs."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Print where the time of a stage goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data/processed/mnist.npz"))
    parser.add_argument("--parts", action="store_true", help="time one stage and print JSON")
    arguments = parser.parse_args()
    if arguments.parts:
        print(json.dumps(parts(arguments.data)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data
        if not data.is_file():
            data = Path(scratch) / "random.npz"
            save(Data(arguments.data).prepared, data)
        command = [sys.executable, "-m", "benchmarks.stage", "--parts", "--data", str(data)]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    measured = json.loads(told)
    python = seconds([sys.executable, "-c", "import stages.train"])
    dvc = seconds([sys.executable, "-m", "dvc", "stage", "list", "--name-only"])
    rows = {
        "DVC, to read the pipeline": dvc,
        "imports": python,
        "loading the splits": measured["loading"],
        f"training, {measured['epochs']} epochs": measured["training"],
        "writing the run": measured["writing"],
    }
    whole = sum(rows.values())
    print("\na train stage, by its parts:")
    for name, taken in rows.items():
        print(f"{name:34s} {taken:8.2f} s {100 * taken / whole:6.1f} %")
    print(f"{'from its start to the first step':34s} {python + measured['loading']:8.2f} s")
    print(f"{'peak memory':34s} {measured['memory']:8.0f} MiB")


if __name__ == "__main__":
    run(main)
