"""The stage that copies what was measured to where git keeps it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.common.errors import UserError
from stages.record import main


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run the stage in tmp_path, with options of the command line."""

    def run_stage(*options: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["record", "data", "runs", "--dataset", "mnist", *options])
        main()

    return run_stage


@pytest.mark.parametrize(("options", "rate"), [(("--lr", "0.30"), "0.30"), ((), "candidate")])
def test_a_copy_takes_the_place_of_an_older_one(
    tmp_path: Path, stage: Callable[..., None], options: tuple[str, ...], rate: str
) -> None:
    measured = tmp_path / "data" / "diagnostics" / "mnist" / rate
    measured.mkdir(parents=True)
    contents = {"features.csv": b"a,b\r\n", "run.json": b"{}"}
    for name, content in contents.items():
        (measured / name).write_bytes(content)
    copy = tmp_path / "runs" / "mnist" / rate
    copy.mkdir(parents=True)
    (copy / "old.csv").touch()
    stage(*options)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == contents
    assert [path.name for path in copy.parent.iterdir()] == [rate]


@pytest.mark.parametrize(
    ("options", "place", "maker"),
    [
        (("--lr", "0.30"), "0.30", "diagnose@mnist-0.30"),
        ((), "candidate", "diagnose_candidate@mnist"),
    ],
)
def test_what_was_not_measured_is_named_and_nothing_is_written(
    tmp_path: Path, stage: Callable[..., None], options: tuple[str, ...], place: str, maker: str
) -> None:
    with pytest.raises(UserError) as told:
        stage(*options)
    assert str(told.value) == (
        f"data/diagnostics/mnist/{place} does not exist: create it with: "
        f"dvc repro --force --single-item {maker}"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("put", "told"),
    [(os.mkfifo, "is neither a file nor a folder"), (os.mkdir, "is damaged ([Errno 21] Is a dir")],
)
def test_what_is_no_file_is_named_and_nothing_is_written(
    tmp_path: Path, stage: Callable[..., None], put: Callable[[Path], None], told: str
) -> None:
    measured = tmp_path / "data" / "diagnostics" / "mnist" / "0.30"
    measured.mkdir(parents=True)
    put(measured / "history.csv")
    with pytest.raises(UserError) as refused:
        stage("--lr", "0.30")
    assert str(refused.value).startswith(f"data/diagnostics/mnist/0.30/history.csv {told}")
    assert not (tmp_path / "runs").exists()
