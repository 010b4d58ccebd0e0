"""The steps of a run that its tables keep, selected by hand."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from stages.diagnostics.diagnostics_files import BURSTS
from stages.diagnostics.step_tables import bursts, first_epoch

INF, NAN = float("inf"), float("nan")


def networks(*lost_steps: int | None) -> pd.DataFrame:
    """Number networks from seed 30 down, with the step at which each was lost."""
    seeds = range(30, 30 - len(lost_steps), -1)
    return pd.DataFrame({"seed": seeds, "lost_step": pd.array(lost_steps, dtype="Int64")})


def by_step(*series: Sequence[float]) -> np.ndarray:
    return np.array(series, np.float32).T


def test_a_short_first_epoch_keeps_the_median_of_networks_not_lost() -> None:
    norms = by_step([1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [2, INF, 60, 50, NAN])
    assert first_epoch(norms, networks(None, 4, 3)).to_numpy().tolist() == [
        [1, 2],
        [2, 8],
        [3, 5],
        [4, 4],
        [5, 5],
    ]


def test_steps_that_no_network_took_before_it_was_lost_have_no_row() -> None:
    norms = by_step([1, NAN, 3, 4], [9, NAN, 7, 6])
    expected = pd.DataFrame({"step": [1, 3], "gradient_norm": [9.0, 7.0]})
    pd.testing.assert_frame_equal(first_epoch(norms, networks(1, 4)), expected)
    assert first_epoch(norms, networks(1, 1)).empty


def test_a_first_epoch_of_one_step_has_one_row() -> None:
    assert first_epoch(by_step([3]), networks(None)).to_numpy().tolist() == [[1, 3]]


def test_a_long_first_epoch_is_condensed_on_a_logarithmic_axis() -> None:
    norms = np.random.default_rng(0).uniform(1, 9, (1688, 3)).astype(np.float32)
    table = first_epoch(norms, networks(None, 900, None))
    starts = table["step"].tolist()
    assert starts[:4] == [1, 2, 3, 4]
    assert 40 < len(starts) <= 60
    assert starts[-3:] == [round(1689 ** (part / 60)) for part in (57, 58, 59)]
    for start, end, found in zip(starts, [*starts[1:], 1689], table["gradient_norm"], strict=True):
        part = [norms[start - 1 : end - 1, place] for place in (0, 2)]
        part.append(norms[start - 1 : min(end - 1, 899), 1])
        assert found == pytest.approx(np.median(np.concatenate(part)))


def run_of(lost_steps: Sequence[int | None], steps: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Make losses and gradient norms that say their step and network."""
    losses = np.add.outer(np.arange(1, steps + 1), 1000 * np.arange(len(lost_steps)))
    return losses.astype(np.float32), losses.astype(np.float32) / 2


def shown(table: pd.DataFrame, seed: int) -> dict[int, tuple[float, float]]:
    """Look up one seed's loss and gradient norm by step."""
    rows = table[table["seed"] == seed]
    values = zip(rows["loss"], rows["gradient_norm"], strict=True)
    return dict(zip(rows["step"], values, strict=True))


def test_bursts_keep_the_steps_around_each_loss() -> None:
    lost_steps = (None, 230, 5, 295)
    table = bursts(*run_of(lost_steps), networks(*lost_steps))
    assert table.index.tolist() == list(range(221 + 25 + 206))
    assert table.dtypes.astype(str).to_dict() == BURSTS
    for seed, network, lost_step, steps in (
        (29, 1, 230, range(-200, 21)),
        (28, 2, 5, range(-4, 21)),
        (27, 3, 295, range(-200, 6)),
    ):
        values = [1000 * network + lost_step + step for step in steps]
        expected = {step: (value, value / 2) for step, value in zip(steps, values, strict=True)}
        assert shown(table, seed) == expected


@pytest.mark.parametrize("quantity", [0, 1])
@pytest.mark.parametrize(("broken", "last"), [(103, 2), (100, -1), (99, 20)])
def test_after_a_loss_steps_are_kept_while_they_are_finite(
    quantity: int, broken: int, last: int
) -> None:
    run = run_of([100])
    run[quantity][broken - 1] = INF if quantity else NAN
    assert max(shown(bursts(*run, networks(100)), 30)) == last


def test_a_run_without_a_loss_has_no_bursts() -> None:
    table = bursts(*run_of([None, None]), networks(None, None))
    assert table.empty
    assert table.dtypes.astype(str).to_dict() == BURSTS
