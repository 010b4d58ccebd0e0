"""The way back from an experiment, as docs/experiments.md gives it, on another processor.

The pipeline draws no figures here: they are made from the tables alone, and take most of the time.
"""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import SMALL_STUDY, built
from tests.repositories import PROJECT, begin, call, commit, copied, ran
from tools.demo import change_params, copy_project

OTHER_PROCESSOR = {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
"""PyTorch and its products then use the instructions of an older processor."""


def draw_no_figures(repository: Path) -> None:
    """Take the stage that draws out of the pipeline."""
    path = repository / "dvc.yaml"
    pipeline = yaml.safe_load(path.read_text(encoding="utf-8"))
    del pipeline["stages"]["plot"]
    path.write_text(yaml.safe_dump(pipeline), encoding="utf-8")


@pytest.fixture(scope="session")
def elsewhere(finished_study: Path) -> Path:
    """Clone the results of another processor, and make them again on this one."""

    def build(clone: Path) -> None:
        origin = clone.with_name("origin")
        copy_project(PROJECT, origin)
        change_params(origin, **(SMALL_STUDY | {"learning_rates": [0.1]}))
        draw_no_figures(origin)
        begin(origin)
        call(origin, "dvc", "repro", **OTHER_PROCESSOR)
        commit(origin, "Results of another processor")
        call(origin, "git", "clone", "--quiet", ".", str(clone))
        call(clone, "git", "config", "user.name", "A Reader")
        call(clone, "git", "config", "user.email", "reader@example.org")
        # What the reader has trained here before is in the cache.
        shutil.copytree(finished_study / ".dvc" / "cache", clone / ".dvc" / "cache")
        call(clone, "dvc", "repro")

    clone = built(finished_study.parent, "elsewhere", build)
    if call(clone, "git", "status", "--porcelain", "metrics") == "":
        pytest.skip("this processor rounds like an older one")
    return clone


def results(repository: Path) -> dict[str, bytes]:
    places = [repository / "metrics", repository / "data"]
    files = [file for place in places for file in place.rglob("*") if file.is_file()]
    return {str(file.relative_to(repository)): file.read_bytes() for file in sorted(files)}


def go_back(repository: Path, *, lock_restored: bool) -> list[str]:
    """Do what docs/experiments.md says; return the stages that computed anything."""
    call(repository, "git", "restore", "params.yaml")
    if lock_restored:
        (repository / "dvc.lock").unlink()
    return ran(call(repository, "dvc", "repro"))


TABLES = ["aggregate", "record@digits-0.1", "record_candidate@digits"]
"""What takes seconds; DVC takes the rest from its cache."""


@pytest.mark.slow
def test_after_an_experiment_the_way_back_takes_the_candidate_from_the_cache(
    elsewhere: Path, tmp_path: Path
) -> None:
    repository = copied(elsewhere, tmp_path / "repository")
    before = results(repository)
    call(repository, "dvc", "exp", "run", "-S", "lr=0.48")
    assert results(repository) != before
    computed = go_back(repository, lock_restored=False)
    assert computed == ["aggregate", "check", "record_candidate@digits"]
    assert results(repository) == before


@pytest.mark.slow
def test_after_git_restore_the_way_back_takes_all_from_the_cache(
    elsewhere: Path, tmp_path: Path
) -> None:
    repository = copied(elsewhere, tmp_path / "repository")
    before = results(repository)
    call(repository, "git", "restore", ".")
    assert results(repository) != before
    assert go_back(repository, lock_restored=True) == sorted(["check", *TABLES])
    assert results(repository) == before
