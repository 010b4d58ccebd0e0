"""Files that appear whole or not at all, on disks that are full, closed or in use otherwise."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest

from stages.common.errors import UserError
from stages.common.whole_files import json_text, whole_directory, whole_file
from tests.repositories import begin, call

PROJECT = Path(__file__).parent.parent
ENDED = 2**22 + 1
"""The number of a process that cannot be: Linux counts to 2²² at most, macOS to 99,998."""

Whole = Callable[[Path], AbstractContextManager[Path]]


def everything(folder: Path) -> dict[str, str]:
    """Read every file in a folder, by its path there; an empty folder is read as `/`."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") if path.is_file() else "/"
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def test_a_file_comes_into_being_with_the_folders_above_it(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a" / "b" / "table.csv") as draft:
        draft.write_text("1", encoding="utf-8")
        assert not (tmp_path / "a" / "b" / "table.csv").exists()
    assert everything(tmp_path) == {"a/b/table.csv": "1"}


def test_a_file_replaces_the_one_before(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with whole_file(tmp_path / "table.csv") as draft:
            draft.write_text(content, encoding="utf-8")
    assert everything(tmp_path) == {"table.csv": "new"}


def test_a_folder_replaces_the_one_before_with_all_that_was_in_it(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_directory(tmp_path / "runs" / "0.1") as draft:
            (draft / name).write_text(name, encoding="utf-8")
    assert everything(tmp_path) == {"runs/0.1/new": "new"}


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_a_block_that_fails_leaves_what_was_there(whole: Whole, tmp_path: Path) -> None:
    target = tmp_path / "result"
    with whole(target) as draft:
        (draft if whole is whole_file else draft / "part").write_text("old", encoding="utf-8")
    before = everything(tmp_path)
    with pytest.raises(ZeroDivisionError), whole(target) as draft:
        (draft if whole is whole_file else draft / "part").write_text(f"new {1 / 0}")
    assert everything(tmp_path) == before


def test_what_an_ended_process_left_half_written_is_removed_by_the_next_to_write_there(
    tmp_path: Path,
) -> None:
    kept = {
        f".scratch-{os.getppid()}-abc/table.csv": "of a process that runs",
        ".scratch-notes/ideas.txt": "the user's own",
        f"below/.scratch-{ENDED}-abc/table.csv": "where nothing is written now",
    }
    litter = {
        f".scratch-{ENDED}-abc/table.csv": "half",
        f".scratch-{ENDED}-def/0.1/run.json": "half",
        f".scratch-{os.getpid()}-ghi/table.csv": "of an earlier process with the same number",
    }
    for name, content in (kept | litter).items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    with whole_file(tmp_path / "one") as one, whole_directory(tmp_path / "two") as two:
        one.write_text("1", encoding="utf-8")
        (two / "2").write_text("2", encoding="utf-8")
    assert everything(tmp_path) == kept | {"one": "1", "two/2": "2"}


def test_scratch_is_seen_neither_by_git_nor_by_dvc(tmp_path: Path) -> None:
    for name in (".gitignore", ".dvcignore"):
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    begin(tmp_path)
    call(tmp_path, sys.executable, "-m", "dvc", "init", "--quiet")
    call(tmp_path, "git", "commit", "--quiet", "--message", "DVC")
    with whole_file(tmp_path / "metrics" / "seeds.csv") as draft:
        draft.write_text("half", encoding="utf-8")
        scratch = draft.parent.relative_to(tmp_path)
        assert call(tmp_path, "git", "status", "--porcelain") == ""
        ignored = call(tmp_path, sys.executable, "-m", "dvc", "check-ignore", str(scratch))
        assert ignored == f"{scratch}\n"
    assert call(tmp_path, "git", "status", "--porcelain") == "?? metrics/\n"


def test_a_folder_where_a_file_belongs_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(UserError) as refusal, whole_file(tmp_path / "table.csv"):
        pytest.fail("nothing is computed for nothing")
    assert str(refusal.value) == (
        f"{tmp_path}/table.csv is a folder, not a file: move it away, then run again"
    )
    assert everything(tmp_path) == {"table.csv": "/"}


@pytest.mark.parametrize("target", ["runs", "runs/0.1", "runs/mnist/0.1"])
@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_a_file_where_a_folder_belongs_is_named(whole: Whole, target: str, tmp_path: Path) -> None:
    if whole is whole_file:
        target += "/table.csv"
    (tmp_path / "runs").write_text("a file", encoding="utf-8")
    with pytest.raises(UserError) as refusal, whole(tmp_path / target):
        pytest.fail("nothing is computed for nothing")
    assert str(refusal.value) == (
        f"{tmp_path}/runs is a file, not a folder: move it away, then run again"
    )
    assert everything(tmp_path) == {"runs": "a file"}


@pytest.fixture
def owned() -> Iterator[Path]:
    """Make a folder for a user who is not root, whom no mode of a folder stops."""
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "owned"
        folder.mkdir()
        if user == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        yield folder
        os.seteuid(user)


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
@pytest.mark.parametrize(("target", "folder"), [("x", ""), ("a/x", "/a")])
def test_a_folder_that_may_not_be_written_to_is_named(
    whole: Whole, target: str, folder: str, owned: Path
) -> None:
    owned.chmod(0o555)
    with pytest.raises(UserError) as refusal, whole(owned / target):
        pytest.fail("nothing is computed for nothing")
    assert str(refusal.value) == (
        f"{owned}/{target} cannot be written (Permission denied): see that its disk has space "
        f"and that {owned}{folder} is a folder you may write to, then run again"
    )


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_a_folder_that_is_closed_meanwhile_keeps_what_it_has(whole: Whole, owned: Path) -> None:
    for content in ("old", "new"):
        try:
            with whole(owned / "x") as draft:
                part = draft if whole is whole_file else draft / "part"
                part.write_text(content, encoding="utf-8")
                if content == "new":
                    owned.chmod(0o555)
        except UserError as error:
            message = str(error)
    assert message == (
        f"{owned}/x cannot be written (Permission denied): see that its disk has space "
        f"and that {owned} is a folder you may write to, then run again"
    )
    owned.chmod(0o755)
    with whole_file(owned / "other") as draft:
        draft.write_text("1", encoding="utf-8")
    assert everything(owned) == {"other": "1", "x" if whole is whole_file else "x/part": "old"}


def close_and_write(folder: Path) -> None:
    folder.chmod(0o555)
    (folder / "run.json").touch()


def test_a_folder_in_the_draft_that_may_not_be_written_to_is_told_alike(owned: Path) -> None:
    with pytest.raises(UserError) as refusal, whole_directory(owned / "runs") as draft:
        close_and_write(draft)
    assert str(refusal.value).startswith(f"{owned}/runs cannot be written (Permission denied): ")
    assert everything(owned) == {}


def write_table(draft: Path) -> None:
    pd.DataFrame({"loss": np.linspace(0, 1, 20_000)}).to_csv(draft)


def write_arrays(draft: Path) -> None:
    np.savez_compressed(draft, noise=np.random.default_rng(0).random(90_000), end=np.arange(8))


def write_text(draft: Path) -> None:
    draft.write_text("0123456789" * 20_000, encoding="utf-8")


def write_figure(draft: Path) -> None:
    figure = matplotlib.figure.Figure()
    figure.figimage(np.random.default_rng(0).random((480, 640)))
    figure.savefig(draft)


WRITERS = [
    (write_table, "table.csv"),
    (write_arrays, "arrays.npz"),
    (write_text, "text.md"),
    (write_figure, "figure.png"),
]


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """Have the kernel refuse what would make a file larger than 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(("write", "name"), WRITERS)
@pytest.mark.usefixtures("no_large_files")
def test_what_cannot_be_written_to_its_end_leaves_the_old_one_and_says_why(
    write: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / name).write_text("old", encoding="utf-8")
    for whole, target in ((whole_file, f"runs/{name}"), (whole_directory, "runs")):
        with pytest.raises(UserError) as refusal, whole(tmp_path / target) as draft:
            write(draft if whole is whole_file else draft / name)
        assert str(refusal.value) == (
            f"{tmp_path / target} cannot be written (File too large): see that its disk has space "
            f"and that {(tmp_path / target).parent} is a folder you may write to, then run again"
        )
        assert everything(tmp_path) == {f"runs/{name}": "old"}


ON_A_SMALL_DISK = """
mount -t tmpfs -o size=100k none disk || exit 77
mkdir disk/runs
echo old > disk/runs/old
{python} program.py
mount -o remount,size=10m disk
{python} program.py
"""
WRITE_EVERYTHING = """
from pathlib import Path
from stages.common.errors import UserError
from stages.common.whole_files import whole_directory
from tests.test_whole_files import WRITERS

for write, name in WRITERS:
    try:
        with whole_directory(Path("disk/runs")) as draft:
            write(draft / name)
    except UserError as error:
        print(error)
    print(*sorted(map(str, Path("disk").rglob("*"))))
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="mounts a small disk as Linux does")
def test_a_full_disk_costs_one_line_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "program.py").write_text(WRITE_EVERYTHING, encoding="utf-8")
    ended = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "sh", "-c"),
            ON_A_SMALL_DISK.format(python=sys.executable),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == 77 or ended.stderr.startswith("unshare"):
        pytest.skip("this user may not mount a small disk")
    assert ended.stderr == ""
    full = (
        "disk/runs cannot be written (No space left on device): see that its disk has space "
        "and that disk is a folder you may write to, then run again\ndisk/runs disk/runs/old\n"
    )
    roomy = [f"disk/runs disk/runs/{name}\n" for _, name in WRITERS]
    assert ended.stdout == full * 4 + "".join(roomy)


def test_an_error_about_another_file_is_not_taken_for_one_in_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"), whole_file(tmp_path / "table.csv"):
        (tmp_path / "absent").read_text(encoding="utf-8")
    assert everything(tmp_path) == {}


def test_json_is_strict() -> None:
    assert json_text({"rate": 0.1, "seeds": [3]}) == (
        '{\n  "rate": 0.1,\n  "seeds": [\n    3\n  ]\n}\n'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"loss": float("nan")})


KILLED = """
import os, signal
from pathlib import Path
from stages.common.whole_files import whole_directory, whole_file

with whole_directory(Path("runs")) as runs, whole_file(Path("table.csv")) as table:
    (runs / "new").write_text("half")
    table.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_while_writing_leaves_the_old_and_litter_that_the_next_removes(
    tmp_path: Path,
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "old").write_text("old", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    there = everything(tmp_path)
    assert {name: text for name, text in there.items() if not name.startswith(".scratch-")} == {
        "runs/old": "old"
    }
    assert len(there) == 3
    with whole_file(tmp_path / "other.csv") as draft:
        draft.write_text("1", encoding="utf-8")
    assert everything(tmp_path) == {"other.csv": "1", "runs/old": "old"}
