"""The simulation of the whole audit: what it deals anew, and what it counts."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from stages.audit.judging.claims import CLAIMS
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.verdicts import Verdict
from tests.drawn_audit import evidence
from tests.repositories import PROJECT
from tools.audit_odds import dealt, lines, odds, redrawn, replaced

CELLS = [
    *(
        (dataset, "core", rate)
        for dataset in ("mnist", "fashion_mnist")
        for rate in (0.1, 0.2, 0.3)
    ),
    *(("mnist", arm, 0.1) for arm in ("small", "large_1")),
    ("mnist", "conventional", 1e-5),
]
PLACE = ["dataset", "recipe", "learning_rate", "seed"]


@pytest.fixture
def drawn() -> Evidence:
    return evidence(cells=CELLS)


def accuracies(networks: pd.DataFrame, chosen: pd.Series) -> list[float]:
    return sorted(networks.loc[chosen, "test_accuracy"])


def test_under_the_null_networks_change_their_cells_within_a_dataset(drawn: Evidence) -> None:
    new = replaced(drawn, dealt(drawn.networks, np.random.default_rng(0))).networks
    old = drawn.networks
    assert new[PLACE].equals(old[PLACE])
    for name in ("mnist", "fashion_mnist"):
        core = (old["dataset"] == name) & (old["recipe"] == "core")
        assert accuracies(new, core) == accuracies(old, core)
        at = core & (old["learning_rate"] == 0.1)
        assert accuracies(new, at) != accuracies(old, at)
    arms = old["recipe"].isin(["small", "large_1"])
    assert accuracies(new, arms) == accuracies(old, arms)
    apart = old["recipe"] == "conventional"
    assert accuracies(new, apart) == accuracies(old, apart)


def test_at_the_effects_seen_networks_stay_in_their_cells(drawn: Evidence) -> None:
    old = drawn.networks
    new = replaced(drawn, redrawn(old, np.random.default_rng(0))).networks
    for _, rows in old.groupby(PLACE[:3]):
        again = new.loc[rows.index, "test_accuracy"]
        assert set(again) < set(rows["test_accuracy"])


def test_a_network_takes_its_course_over_the_epochs_along(drawn: Evidence) -> None:
    new = replaced(drawn, dealt(drawn.networks, np.random.default_rng(0)))
    assert new.epochs.groupby(PLACE[1:]).size().tolist() == [21] * 20
    last, again = (
        each.epochs[each.epochs["epoch"] == 20].sort_values(PLACE[1:]) for each in (drawn, new)
    )
    assert sorted(last["feature_sparsity"]) == sorted(again["feature_sparsity"])
    assert last["feature_sparsity"].tolist() != again["feature_sparsity"].tolist()


def test_verdicts_are_counted_claim_by_claim(drawn: Evidence) -> None:
    counts, supported, changed = odds(drawn, redrawn, 2)
    assert counts["better"] == {Verdict.EQUIVALENT: 2}
    assert counts["faster"] == {Verdict.NOT_RUN: 2}
    assert (supported, changed) == (0, 0)
    told = lines(counts, 2)
    assert told[0].split() == ["claim", "supported", "refuted", "equivalent", "undecided"]
    assert told[2].split() == ["better", "0.0%", "0.0%", "100.0%", "0.0%"]
    assert len(told) == 1 + len(CLAIMS)


@pytest.mark.parametrize(
    ("tool", "option"), [("tools.audit_odds", "--draws"), ("tools.soak", "--kills")]
)
def test_nothing_to_draw_or_kill_is_refused(tool: str, option: str) -> None:
    told = subprocess.run(
        [sys.executable, "-m", tool, option, "0"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].endswith(f"error: {option} 0: give 1 or more")
