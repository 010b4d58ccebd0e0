"""What each stage reads and writes, watched while it runs, is what its definition declares."""

import json
import shutil
from importlib.util import source_from_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repositories import copied, run

WATCH = """
import os, sys
LOG, ROOT = os.environ["WATCH_LOG"], os.environ["WATCH_ROOT"]

def watch(event, arguments):
    if event not in ("open", "os.rename", "os.mkdir"):
        return
    place = arguments[1] if event == "os.rename" else arguments[0]
    if not isinstance(place, (str, bytes, os.PathLike)):
        return
    place = os.path.abspath(os.fsdecode(place))
    if not place.startswith(ROOT + os.sep):
        return
    flags = arguments[2] if event == "open" else os.O_WRONLY
    kind = "write" if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "read"
    line = f"{kind} {os.path.relpath(place, ROOT)}\\n".encode()
    descriptor = FILE
    os.write(descriptor, line)

FILE = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sys.addaudithook(watch)
"""
"""Runs in every Python that starts: it logs each file of the repository that is read or written."""


UNREAD = {"data/checked.txt", "stages/archives.py"}
"""Stages depend on the first so that they run after the check. The digits need no archives."""


def sections(content: dict[str, Any], declared: list[str]) -> dict[str, Any]:
    """Take the top-level sections of params.yaml that a stage declares, dotted keys included."""
    return {key: content[key] for key in dict.fromkeys(name.split(".")[0] for name in declared)}


def watched(repository: Path, tmp_path: Path, command: str) -> dict[str, set[str]]:
    """Run a stage's command; return what it read and what it wrote, relative to the repository."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    log = tmp_path / "log"
    ended = run(
        repository,
        *command.split(),
        PYTHONPATH=str(tmp_path / "hook"),
        WATCH_LOG=str(log),
        WATCH_ROOT=str(repository),
        WORKERS="2",
    )
    assert ended.returncode == 0, ended.stdout
    seen: dict[str, set[str]] = {"read": set(), "write": set()}
    for line in log.read_text(encoding="utf-8").splitlines():
        kind, _, path = line.partition(" ")
        if path.endswith(".pyc") and kind == "read":
            path = source_from_cache(path)
        if "__pycache__" not in path and ".scratch-" not in path:
            seen[kind].add(path)
    return seen


def inside(path: str, declared: set[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in declared)


def contents(repository: Path, outs: set[str]) -> dict[str, bytes]:
    files: list[Path] = []
    for out in outs:
        place = repository / out
        files += [place] if place.is_file() else [f for f in place.rglob("*") if f.is_file()]
    return {str(file.relative_to(repository)): file.read_bytes() for file in sorted(files)}


@pytest.mark.parametrize(
    ("lock", "stage"),
    [
        ("dvc.lock", "check"),
        ("dvc.lock", "download@digits"),
        ("dvc.lock", "preprocess@digits"),
        ("dvc.lock", "train@digits-0.1"),
        ("dvc.lock", "candidate@digits"),
        ("dvc.lock", "diagnose@digits-0.1"),
        ("dvc.lock", "diagnose_candidate@digits"),
        ("dvc.lock", "record@digits-0.1"),
        ("dvc.lock", "record_candidate@digits"),
        ("dvc.lock", "aggregate"),
        ("dvc.lock", "plot"),
        ("audit/dvc.lock", "train@digits-core-1"),
        ("audit/dvc.lock", "measure@digits-core-1"),
        ("audit/dvc.lock", "gather"),
        ("audit/dvc.lock", "curves"),
        ("audit/dvc.lock", "judge"),
        ("audit/dvc.lock", "figures"),
        ("audit/dvc.lock", "report"),
    ],
)
def test_a_stage_reads_and_writes_what_it_declares(
    finished_audit: Path, tmp_path: Path, lock: str, stage: str
) -> None:
    """It runs where params.yaml holds nothing but the sections it declares."""
    repository = copied(finished_audit, tmp_path / "repository")
    entry = json.loads(json.dumps(yaml.safe_load((repository / lock).read_text())))["stages"][stage]
    deps, outs = ({each["path"] for each in entry.get(kind, [])} for kind in ("deps", "outs"))
    params = list(entry.get("params", {}).get("params.yaml", {}))
    if "params.yaml" not in deps:
        content = yaml.safe_load((repository / "params.yaml").read_text(encoding="utf-8"))
        text = yaml.safe_dump(sections(content, params), sort_keys=False)
        (repository / "params.yaml").write_text(text, encoding="utf-8")
    before = contents(repository, outs)
    assert before
    for out in outs:
        place = repository / out
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    seen = watched(repository, tmp_path, entry["cmd"])
    allowed = deps | ({"params.yaml"} if params else set())
    # What a package begins with decides no result.
    read = {
        path
        for path in seen["read"]
        if (repository / path).is_file() and not path.endswith("__init__.py")
    }
    assert {path for path in read if not inside(path, allowed | outs)} == set()
    folders = {str(parent) for out in outs for parent in Path(out).parents}
    assert {path for path in seen["write"] if not inside(path, outs)} - folders == set()
    needed = allowed - UNREAD
    assert {dep for dep in needed if not any(inside(path, {dep}) for path in read)} == set()
    assert contents(repository, outs) == before
