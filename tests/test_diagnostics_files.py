"""What diagnosing leaves is read back as it was written, or the user is told what to do."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.common.errors import UserError
from stages.diagnostics import diagnostics_files
from stages.diagnostics.diagnostics_files import Measured
from stages.training.run_files import HISTORY

FACTS = {
    "dataset": "fashion_mnist",
    "learning_rate": 0.123456789,
    "seeds": [7, 4294967295],
    "epochs": 1,
    "batch_size": 32,
    "steps_per_epoch": 1688,
    "chance_accuracy": 0.1,
}


def whole(*numbers: int | None) -> pd.Series:
    return pd.Series(numbers, dtype="Int64")


def measured() -> Measured:
    """Make measurements with long, missing and infinite numbers."""
    numbers = np.linspace(1 / 3, 9e9, 2 * len(HISTORY)).reshape(2, -1)
    history = pd.DataFrame(numbers, columns=list(HISTORY)).assign(
        seed=FACTS["seeds"], epoch=1, step=1688, test_loss=[np.inf, np.nan]
    )
    return Measured(
        FACTS,
        history,
        networks=pd.DataFrame(
            {
                "seed": FACTS["seeds"],
                "outcome": ["lost", "trained"],
                "lost_epoch": whole(3, None),
                "lost_step": whole(12345678, None),
                "lost_how": ["exploded", None],
                "running_accuracy": [np.nan, 0.978125],
                "steps_to_threshold": whole(None, 10000000),
                "peak_gradient_norm": [1.23456789e19, 16.0],
            }
        ),
        features=pd.DataFrame(
            {
                "seed": FACTS["seeds"],
                "epoch": [0, 10],
                "layer": [1, 12],
                "positive_share": [0.51234567, 1.0],
                "never_firing_share": [0.0, 1 / 3],
                "feature_sparsity": [np.nan, 0.25],
                "effective_rank": [100.123456, 1.0],
            }
        ),
        sharpness=pd.DataFrame(
            {
                "seed": FACTS["seeds"],
                "epoch": [0, 10],
                "sharpness": [1234567.0, np.nan],
                "residual": [0.000123456789, np.nan],
            }
        ),
        first_epoch=pd.DataFrame({"step": [1, 2000000], "gradient_norm": [1.5, 2.0]}),
        bursts=pd.DataFrame(
            {
                "seed": [7, 7],
                "step": [-200, 20],
                "loss": [2.25, 3.0],
                "gradient_norm": [1e15, np.inf],
            }
        ),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the measurements where a rate of the grid has them."""
    folder = tmp_path / "fashion_mnist" / "0.384"
    folder.mkdir(parents=True)
    diagnostics_files.save(measured(), folder)
    return folder


def test_tables_hold_six_digits_and_whole_numbers_whole(folder: Path) -> None:
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.csv")}
    header, first, second = texts.pop("history.csv").splitlines()
    assert header == ",".join(HISTORY)
    assert first.startswith("7,1,1688,6.27907e+08,8.37209e+08,")
    assert second.startswith("4294967295,1,1688,5.23256e+09,")
    assert texts == {
        "networks.csv": (
            "seed,outcome,lost_epoch,lost_step,lost_how,running_accuracy,steps_to_threshold,"
            "peak_gradient_norm\n"
            "7,lost,3,12345678,exploded,,,1.23457e+19\n"
            "4294967295,trained,,,,0.978125,10000000,16\n"
        ),
        "features.csv": (
            "seed,epoch,layer,positive_share,never_firing_share,feature_sparsity,effective_rank\n"
            "7,0,1,0.512346,0,,100.123\n"
            "4294967295,10,12,1,0.333333,0.25,1\n"
        ),
        "sharpness.csv": (
            "seed,epoch,sharpness,residual\n7,0,1.23457e+06,0.000123457\n4294967295,10,,\n"
        ),
        "first_epoch.csv": "step,gradient_norm\n1,1.5\n2000000,2\n",
        "bursts.csv": "seed,step,loss,gradient_norm\n7,-200,2.25,1e+15\n7,20,3,inf\n",
    }


def test_measurements_are_read_back_as_they_were_but_for_digits(folder: Path) -> None:
    read, written = vars(diagnostics_files.load(folder)), vars(measured())
    assert read.pop("facts") == written.pop("facts")
    assert read.keys() == written.keys()
    for name, table in written.items():
        pd.testing.assert_frame_equal(read[name], table, rtol=5e-6)


def test_tables_without_rows_keep_their_types(folder: Path) -> None:
    empty = {name: table.iloc[:0] for name, table in vars(measured()).items() if name != "facts"}
    diagnostics_files.save(Measured(facts=FACTS, **empty), folder)
    for name, table in empty.items():
        pd.testing.assert_frame_equal(getattr(diagnostics_files.load(folder), name), table)


ANEW = "dvc repro --force --single-item record@fashion_mnist-0.384"
PARTS = ["run.json", *(f"{name}.csv" for name in diagnostics_files.TABLES)]


@pytest.mark.parametrize("part", PARTS)
def test_a_missing_part_is_named_with_what_makes_it(folder: Path, part: str) -> None:
    (folder / part).unlink()
    with pytest.raises(UserError) as told:
        diagnostics_files.load(folder)
    assert str(told.value) == f"{folder / part} does not exist: create it with: {ANEW}"


@pytest.mark.parametrize("part", PARTS)
def test_an_emptied_part_is_damaged(folder: Path, part: str) -> None:
    (folder / part).write_bytes(b"")
    found = "all of it: Invalid JSON: EOF while parsing a value at line 1 column 0"
    reason = found if part == "run.json" else "it is empty"
    with pytest.raises(UserError) as told:
        diagnostics_files.load(folder)
    assert str(told.value) == f"{folder / part} is damaged ({reason}): recreate it with: {ANEW}"


@pytest.mark.parametrize(
    ("part", "damage", "reason"),
    [
        (
            "sharpness.csv",
            lambda text: text.replace("residual", "remainder"),
            "it has the columns seed, epoch, sharpness, remainder",
        ),
        (
            "features.csv",
            lambda text: text.replace("100.123", "1O0.123"),
            "could not convert string to float: '1O0.123'",
        ),
        (
            "networks.csv",
            lambda text: text.replace("12345678", "123.5"),
            "cannot safely cast non-equivalent object to int64",
        ),
        (
            "first_epoch.csv",
            lambda text: text.replace("2000000,2", "20000,2,4"),
            "row 3 has 3 values instead of 2",
        ),
        (
            "run.json",
            lambda text: text.replace("batch_size", "batch"),
            "batch_size: Field required",
        ),
        (
            "run.json",
            lambda text: json.dumps(list(FACTS)),
            "all of it: Input should be an object",
        ),
    ],
)
def test_a_damaged_part_is_named_with_what_is_wrong(
    folder: Path, part: str, damage: Callable[[str], str], reason: str
) -> None:
    path = folder / part
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(UserError) as told:
        diagnostics_files.load(folder)
    assert str(told.value) == f"{path} is damaged ({reason}): recreate it with: {ANEW}"


def test_bytes_that_are_no_text_are_damage(folder: Path) -> None:
    (folder / "bursts.csv").write_bytes(b"\xff\x00\x13")
    with pytest.raises(UserError, match=r"bursts\.csv is damaged \(.*\): recreate it with: "):
        diagnostics_files.load(folder)


def test_the_candidate_has_a_command_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "mnist" / "candidate"
    with pytest.raises(UserError) as told:
        diagnostics_files.load(folder)
    assert str(told.value) == (
        f"{folder / 'history.csv'} does not exist: "
        "create it with: dvc repro --force --single-item record_candidate@mnist"
    )
