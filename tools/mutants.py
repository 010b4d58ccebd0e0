"""Put small faults into the code, one at a time, and count those that the tests notice.

mutmut makes these faults (mutants), in the modules that pyproject.toml lists or in those named on
the command line. A module's score is the share of its mutants that the tests noticed, by failing
or by hanging, or that the type check noticed.
"""

import argparse
import subprocess
import sys
from collections import Counter
from pathlib import Path

from stages.common.errors import UserError, run

NOTICED = {"killed", "timeout", "caught by type check"}


def pattern(module: str) -> str:
    """Name every mutant of a module, given as stages/training/sgd.py or stages.training.sgd."""
    return module.removesuffix(".py").replace("/", ".") + ".*"


def scores(listing: str) -> dict[str, Counter[str]]:
    """Count each module's mutants by status.

    Args:
        listing: What `mutmut results --all true` prints: one line per mutant, `name: status`.
    """
    counts: dict[str, Counter[str]] = {}
    for line in listing.splitlines():
        name, _, status = line.strip().rpartition(": ")
        module = name.rpartition(".")[0]
        if module and status != "not checked":
            counts.setdefault(module, Counter())[status] += 1
    return counts


def main() -> None:
    """Run the mutants and print one line per module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as stages/training/sgd.py; default: all")
    modules = parser.parse_args().modules
    for module in modules:
        if not Path(module.removesuffix(".py").replace(".", "/") + ".py").is_file():
            raise UserError(
                f"MODULE = {module}: no such module; give one such as stages/training/sgd.py"
            )
    mutmut = [sys.executable, "-m", "mutmut"]
    ended = subprocess.run([*mutmut, "run", *map(pattern, modules)], check=False)
    if ended.returncode:
        raise UserError("mutmut failed; its message is above")
    listed = subprocess.run(
        [*mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True
    )
    print(f"\n{'module':36s} {'mutants':>8s} {'noticed':>8s} {'score':>7s}")
    for module, counts in sorted(scores(listed.stdout).items()):
        noticed = sum(counts[status] for status in NOTICED)
        print(f"{module:36s} {counts.total():8d} {noticed:8d} {noticed / counts.total():7.0%}")
    print("\nTo list the survivors: mutmut results. To show one: mutmut show NAME")


if __name__ == "__main__":
    run(main)
