"""The audit's tables: what damages them is named, with the command that recreates them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.audit.judging.read_tables import (
    EPOCHS,
    NETWORKS,
    epochs,
    failure,
    networks,
    numbers,
    read,
    texts,
    with_ends,
)
from stages.common.errors import UserError
from stages.common.tables import last_layer
from tests.drawn_audit import evidence

COLUMNS = {"dataset": "str", "recipe": "str", "seed": "int64", "outcome": "str", "low": "float64"}
TABLE = "dataset,recipe,seed,outcome,low\nmnist,core,1,trained,0.5\nmnist,core,2,lost,\n"
DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda _: "", "it is empty"),
    "without two columns": (
        lambda text: text.replace("seed", "s").replace("low", "l"),
        "it lacks the columns seed, low",
    ),
    "text for a number": (
        lambda text: text.replace("0.5", "x"),
        "could not convert string to float: 'x'",
    ),
    "half a seed": (
        lambda text: text.replace("core,2", "core,2.5"),
        "cannot safely convert passed user dtype of int64 for float64 dtyped data in column 2",
    ),
    "a seed missing": (
        lambda text: text.replace("core,2", "core,"),
        "Integer column has NA values in column 2",
    ),
    "a row twice": (lambda text: f"{text}mnist,core,2,trained,0.5\n", "it holds a row twice"),
    "a row too long": (
        lambda text: f"{text}1,2,3,4,5,6\n",
        "row 4 has 6 values instead of 5",
    ),
    "rows of more values than the header": (
        lambda text: text.replace("mnist", "1,mnist"),
        "row 2 has 6 values instead of 5",
    ),
    "no outcome": (lambda text: text.replace("trained", ""), "outcome is missing in a row"),
    "an unknown outcome": (
        lambda text: text.replace("trained", "tired"),
        "outcome is not one of trained, undertrained, lost",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_told_with_what_recreates_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "networks.csv"
    change, told = DAMAGES[damage]
    path.write_text(change(TABLE), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read(path, COLUMNS)
    assert str(refused.value) == (
        f"{path} is damaged ({told}): recreate it with: dvc repro audit/dvc.yaml"
    )


@pytest.mark.parametrize("reader", [networks, epochs, failure])
def test_an_absent_table_is_told_with_what_makes_it(
    tmp_path: Path, reader: Callable[[Path], pd.DataFrame]
) -> None:
    with pytest.raises(UserError) as refused:
        reader(tmp_path)
    path = tmp_path / f"{reader.__name__}.csv"
    assert str(refused.value) == f"{path} does not exist: create it with: dvc repro audit/dvc.yaml"


def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is damaged \(\[Errno 21\] Is a directory: "):
        read(tmp_path, COLUMNS)


def test_a_whole_table_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert read(path, COLUMNS).equals(pd.read_csv(path))


def test_an_epoch_tells_rows_of_a_network_apart(tmp_path: Path) -> None:
    path = tmp_path / "epochs.csv"
    columns = {"dataset": "str", "seed": "int64", "epoch": "int64"}
    path.write_text("dataset,seed,epoch\nmnist,1,0\nmnist,1,1\n", encoding="utf-8")
    assert len(read(path, columns)) == 2
    path.write_text("dataset,seed,epoch\nmnist,1,1\nmnist,1,1\n", encoding="utf-8")
    with pytest.raises(UserError, match="it holds a row twice"):
        read(path, columns)


def test_the_last_hidden_layer_is_the_one_with_the_largest_number(tmp_path: Path) -> None:
    drawn = evidence(cells=[("mnist", "core", 0.1)]).networks.drop(columns="feature_sparsity")
    table = drawn.assign(feature_sparsity_10=0.125, feature_sparsity_x=0.5, lost_how="exploded")
    assert last_layer(table, "feature_sparsity") == "feature_sparsity_10"
    assert last_layer(table, "test_accuracy") == "test_accuracy"
    table.to_csv(tmp_path / "networks.csv", index=False)
    assert networks(tmp_path)["feature_sparsity"].tolist() == [0.125] * 20


def test_what_an_audit_writes_is_read(tmp_path: Path) -> None:
    drawn = evidence(cells=[("mnist", "small", 0.1)])
    drawn.networks.drop(columns="feature_sparsity").to_csv(tmp_path / "networks.csv", index=False)
    drawn.epochs.to_csv(tmp_path / "epochs.csv", index=False)
    assert set(NETWORKS) <= set(networks(tmp_path))
    assert set(EPOCHS) <= set(epochs(tmp_path))


def test_columns_are_named_with_their_types() -> None:
    assert texts("a", "b") == {"a": "str", "b": "str"}
    assert numbers("a", "b") == {"a": "float64", "b": "float64"}
    assert with_ends("a") == {"a": "float64", "a_low": "float64", "a_high": "float64"}


def test_a_table_of_failure_that_lacks_columns_is_told(tmp_path: Path) -> None:
    (tmp_path / "failure.csv").write_text("dataset,recipe\nmnist,core\n", encoding="utf-8")
    with pytest.raises(UserError, match="it lacks the columns networks, lost, largest_rate, "):
        failure(tmp_path)
