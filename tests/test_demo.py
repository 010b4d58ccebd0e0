"""A demo that cannot begin says why in one line, and leaves nothing half-made."""

import shutil
from pathlib import Path

from tests.repositories import PROJECT, call

DEMO = ("python", "-m", "tools.demo")


def test_a_demo_without_space_says_so_and_leaves_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "edited").touch()
    command = f"ulimit -f 0 && {' '.join(DEMO)} '{tmp_path}/demo'"
    assert call(PROJECT, "sh", "-c", command, status=1) == (
        f"error: {tmp_path}/demo cannot be written (File too large): see that its disk has space "
        f"and that {tmp_path} is a folder you may write to, then run again\n"
    )
    assert [path.name for path in tmp_path.rglob("*")] == ["demo", "edited"]


def test_a_file_where_the_demo_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    assert call(PROJECT, *DEMO, f"{tmp_path}/demo", status=1) == (
        f"error: {tmp_path}/demo is a file, not a folder: move it away, then run again\n"
    )


def test_a_demo_outside_a_checkout_says_what_to_do(tmp_path: Path) -> None:
    for name in ("stages", "tools"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    assert call(tmp_path, *DEMO, "demo", status=1) == (
        f"error: the files of {tmp_path} cannot be listed (fatal: not a git repository (or any of "
        f"the parent directories): .git): clone the project with git, then run again in the clone\n"
    )
    assert not (tmp_path / "demo").exists()
