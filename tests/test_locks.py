"""A dvc.lock that DVC cannot read is reported before DVC runs, with what to do about it."""

from pathlib import Path

import pytest

from stages.common.errors import UserError
from tests.repositories import PROJECT
from tools.locks import check, check_repository, check_settings, clear

LOCK = b'schema: "2.0"\nstages:\n  check:\n    cmd: python\n'
FAULTS = {
    "empty": (b"", "required key not provided @ data['schema']"),
    "cut short": (
        LOCK[:-12],
        "expected a dictionary for dictionary value @ data['stages']['check']",
    ),
    "in conflict": (
        b"<<<<<<< HEAD\n" + LOCK,
        "line 2: mapping values are not allowed in this context",
    ),
    "binary": (
        b"\xff\x00",
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ),
    "a list": (b"[1]", "expected a dictionary"),
    "lists that never end": (b"[" * 9999, "line 2: did not find expected node content"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lock_that_dvc_cannot_read_is_refused_with_the_way_on(tmp_path: Path, fault: str) -> None:
    lock = tmp_path / "dvc.lock"
    content, told = FAULTS[fault]
    lock.write_bytes(content)
    with pytest.raises(UserError) as refused:
        check(lock)
    assert str(refused.value) == (
        f"{lock} cannot be read by DVC ({told}): bring it back with git restore {lock} "
        f"(in a merge: git restore --ours {lock}), or remove it, and DVC takes what it can from "
        f"its cache"
    )


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read by DVC \(Is a directory\)"):
        check(tmp_path)


def test_whole_locks_and_absent_ones_are_as_good(tmp_path: Path) -> None:
    check(PROJECT / "dvc.lock")
    check(PROJECT / "audit" / "dvc.lock")
    check(tmp_path / "dvc.lock")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            b"<<<<<<< HEAD\n[core]\n",
            "Invalid line ('<<<<<<< HEAD') (matched as neither section nor keyword) at line 1.",
        ),
        (
            b"[core]\nanalytics = perhaps\n",
            "config file error: expected true or false for dictionary value "
            "@ data['core']['analytics']",
        ),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_settings_that_dvc_cannot_read_are_refused_with_the_way_on(
    tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "config").write_bytes(content)
    with pytest.raises(UserError) as refused:
        check_settings(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}/config or {tmp_path}/config.local cannot be read by DVC ({told}): bring the "
        f"first back with git restore {tmp_path}/config, and correct or remove the second"
    )


def test_a_folder_in_the_place_of_the_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    with pytest.raises(UserError, match=r"cannot be read by DVC \(Is a directory\)"):
        check_settings(tmp_path)


def test_whole_settings_and_absent_ones_are_as_good(tmp_path: Path) -> None:
    check_settings(PROJECT / ".dvc")
    check_settings(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b'{"a": ', b'{"a": 1}', b"[]", b"[" * 99_999, b"null", b"\xff"]
)
def test_an_rwlock_that_dvc_did_not_write_whole_is_removed(tmp_path: Path, content: bytes) -> None:
    rwlock = tmp_path / "rwlock"
    rwlock.write_bytes(content)
    clear(rwlock)
    assert not rwlock.exists()


def test_a_whole_rwlock_stays(tmp_path: Path) -> None:
    rwlock = tmp_path / "rwlock"
    whole = b'{"read": {"/x": [{"pid": 1, "cmd": "dvc repro"}]}}'
    rwlock.write_bytes(whole)
    clear(rwlock)
    assert rwlock.read_bytes() == whole


def test_a_copy_that_git_does_not_know_is_refused_with_the_way_on(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        check_repository(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} is not a git repository: clone the project with git, or make this copy of it "
        f"a repository with git init"
    )
    check_repository(PROJECT / "stages")


def test_a_folder_in_the_place_of_the_rwlock_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        clear(tmp_path)
    assert str(refused.value) == f"{tmp_path} is not a file: remove it, then run again"
