"""The audit's tables: what damages them is named, with the command that makes them anew."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.audit.judging.read_tables import BRACKET, TRIALS, read
from stages.common.errors import UserError

TABLE = "seed,round,low,high\n1,1,0.5,\n1,2,0.5,0.75\n2,1,,1\n"
DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "No columns to parse from file"),
    "without two columns": (
        lambda text: text.replace("seed", "s").replace("low", "l"),
        "it lacks the columns seed, low",
    ),
    "text for a number": (lambda text: text.replace("0.75", "x"), "high holds what is no float64"),
    "a number without end": (
        lambda text: text.replace("0.75", "9" * 30),
        "high holds what is no float64",
    ),
    "a seed missing": (
        lambda text: text.replace("2,1,,1", ",1,,1"),
        "seed holds what is no int64",
    ),
    "a row twice": (lambda text: f"{text}1,2,0.5,0.75\n", "it holds a row twice"),
    "a row too long": (
        lambda text: f"{text}1,2,3,4,5\n",
        "Error tokenizing data. C error: Expected 4 fields in line 5, saw 5",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_told_with_what_makes_it_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "boundary-core.csv"
    change, told = DAMAGES[damage]
    path.write_text(change(TABLE), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read(path, TRIALS, "dvc repro here")
    assert str(refused.value) == (f"{path} is damaged ({told}): make it anew with: dvc repro here")


def test_an_unknown_outcome_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ladder.csv"
    path.write_text("seed,outcome,lost_how\n1,trained,\n2,tired,\n", encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read(path, {"seed": "int64", "outcome": "str", "lost_how": "str"})
    assert str(refused.value) == (
        f"{path} is damaged (outcome is none of lost, trained, undertrained): "
        f"make it anew with: dvc repro --force --single-item audit/dvc.yaml:ladder"
    )


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is damaged \(\[Errno 21\] Is a directory: "):
        read(tmp_path, BRACKET)


def test_a_whole_table_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "boundary-core.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert read(path, TRIALS).equals(pd.read_csv(path))
