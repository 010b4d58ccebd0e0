"""How often does the audit reach each verdict by chance, and how often at the effects seen?

Each draw is a whole audit, as large as the one that was run, judged by the same rules:

- under the *null* all networks of a dataset are exchangeable: those of the ladder are assigned at
  random to its cells, those of the mechanism to its arms. Rate and recipe then have no effect, and
  chance alone supports a claim, except the two that the null leaves as they are (`UNTOUCHED`);
- at the effects *seen* the networks of each cell are resampled from it, with replacement.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from stages.audit.judging import read_tables
from stages.audit.judging.changes import changes
from stages.audit.judging.claims import CLAIMS
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.mechanism import ARMS
from stages.audit.judging.verdicts import Verdict, judge
from stages.common.errors import run

UNTOUCHED = {"printed", "usable"}
"""Claims whose networks the null leaves as they are."""
NETWORK = ["dataset", "recipe", "learning_rate", "seed"]
Sources = NDArray[np.int64]
"""(networks,): for each row of the table, the row of the network that takes its place."""


def dealt(networks: pd.DataFrame, generator: np.random.Generator) -> Sources:
    """Assign the networks of a dataset at random to its cells, the mechanism's to its arms."""
    kind = np.where(networks["recipe"].isin(ARMS), "mechanism", "ladder")
    kind = np.where(networks["recipe"] == "conventional", "conventional", kind)
    return _within(
        [networks["dataset"], pd.Series(kind, index=networks.index)], generator.permutation
    )


def redrawn(networks: pd.DataFrame, generator: np.random.Generator) -> Sources:
    """Draw the networks of each cell from its own, with replacement."""
    cells = [networks[name] for name in NETWORK[:3]]
    return _within(cells, lambda rows: generator.choice(rows, size=len(rows)))


def _within(
    groups: list[pd.Series], chosen: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> Sources:
    sources = np.arange(len(groups[0]))
    for rows in pd.Series(sources).groupby([group.to_numpy() for group in groups]).groups.values():
        sources[rows] = chosen(np.asarray(rows))
    return sources


def replaced(evidence: Evidence, sources: Sources) -> Evidence:
    """Replace the audit's networks by the drawn ones, together with their rows by epoch."""
    networks = evidence.networks.reset_index(drop=True)
    drawn = networks.iloc[sources].reset_index(drop=True)
    drawn[NETWORK] = networks[NETWORK]
    links = networks.loc[sources, ["dataset", "recipe", "seed"]].reset_index(drop=True)
    links[["new_recipe", "new_rate", "new_seed"]] = networks[["recipe", "learning_rate", "seed"]]
    links = links[links["recipe"].isin(ARMS)]
    epochs = evidence.epochs.merge(links, on=["dataset", "recipe", "seed"])
    epochs[NETWORK[1:]] = epochs[["new_recipe", "new_rate", "new_seed"]]
    return Evidence(drawn, epochs.drop(columns=["new_recipe", "new_rate", "new_seed"]))


def odds(
    evidence: Evidence,
    draw: Callable[[pd.DataFrame, np.random.Generator], Sources],
    draws: int,
    seed: int = 0,
) -> tuple[dict[str, Counter[Verdict]], float, float]:
    """Judge many drawn audits.

    Returns:
        How often each claim got each verdict; the share of the audits in which some claim
        outside `UNTOUCHED` was supported; and the share in which some rung changed something.
    """
    generator = np.random.default_rng(seed)
    counts: dict[str, Counter[Verdict]] = {claim.key: Counter() for claim in CLAIMS}
    supported, changed = 0, 0
    for _ in tqdm(range(draws), desc=draw.__name__, file=sys.stderr):
        drawn = replaced(evidence, draw(evidence.networks.reset_index(drop=True), generator))
        found = {judged.claim.key: judged.decision.verdict for judged in judge(drawn)}
        for key, verdict in found.items():
            counts[key][verdict] += 1
        supported += any(found[key] == Verdict.SUPPORTED for key in found if key not in UNTOUCHED)
        changed += any(change.significant for change in changes(drawn))
    return counts, supported / draws, changed / draws


def lines(counts: dict[str, Counter[Verdict]], draws: int) -> Sequence[str]:
    """Write one line per claim: how often it got each verdict, in percent."""
    verdicts = [verdict for verdict in Verdict if verdict != Verdict.NOT_RUN]
    heading = f"{'claim':24s}" + "".join(f"{verdict:>12s}" for verdict in verdicts)
    return [
        heading,
        *(
            f"{key:24s}" + "".join(f"{100 * found[each] / draws:11.1f}%" for each in verdicts)
            for key, found in counts.items()
        ),
    ]


def main() -> None:
    """Print how often each verdict comes out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200, help="simulated audits of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", type=Path, default=Path("metrics/audit"))
    arguments = parser.parse_args()
    if arguments.draws < 1:
        parser.error(f"--draws {arguments.draws}: give 1 or more")
    evidence = Evidence(
        read_tables.networks(arguments.tables), read_tables.epochs(arguments.tables)
    )
    for title, draw in (("Under the null", dealt), ("At the effects seen", redrawn)):
        counts, supported, changed = odds(evidence, draw, arguments.draws, arguments.seed)
        print(f"\n{title}, {arguments.draws} audits:", *lines(counts, arguments.draws), sep="\n")
        print(f"audits that support a claim that compares networks: {100 * supported:.1f} %")
        print(f"audits with a change between rungs: {100 * changed:.1f} %")


if __name__ == "__main__":
    run(main)
