"""What several test modules start from."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock

from stages.common.datasets import Prepared, save
from stages.training.device import make_deterministic
from tests.repositories import PROJECT, begin, call, commit, copied
from tools.demo import change_params, copy_project

GRID = [0.1, 0.5]
SMALL_STUDY = {
    "datasets": ["digits"],
    "learning_rates": GRID,
    "seeds": [1, 2],
    "network.hidden": [64, 32],
    "training.epochs": 2,
    "diagnose.examples": 300,
}
SMALL_AUDIT = {
    "audit.rates": GRID,
    "audit.groups": [1],
    "audit.networks": 3,
    "audit.ladder": ["as_published", "core"],
    "audit.apart": ["conventional", "large_1"],
    "audit.recipes.large_1.epochs": 2,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes, so that it does not keep one process busy at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def as_the_stages_do() -> None:
    """Compute as the stages do: in one thread, the same bits every time."""
    make_deterministic()


@pytest.fixture(autouse=True, scope="session")
def plain_environment() -> None:
    """Keep the caller's mirror and DVC settings out of the tests."""
    for name in (
        "DASK_SCHEDULER_ADDRESS",
        "DATASETS_MIRROR",
        "DVC_ROOT",
        "DVC_STAGE",
        "MAKE_PID",
        "WORKERS",
    ):
        os.environ.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Lay out a small dataset, small.npz, and parameters, params.yaml, in a folder of their own.

    The splits differ in size, the classes in frequency, and the last batch of an epoch is short.
    """
    generator = np.random.default_rng(0)
    shares = np.linspace(1, 2, 10)
    labels = generator.choice(10, 150, p=shares / shares.sum()).astype(np.uint8)
    images = generator.integers(0, 100, (150, 28, 28), dtype=np.uint8)
    images[np.arange(150), labels, :] += 150
    parts = (slice(0, 91), slice(91, 122), slice(122, 150))
    arrays = [array[part] for part in parts for array in (images, labels)]
    save(Prepared(*arrays, np.array(0.3), np.array(0.25)), tmp_path / "small.npz")
    content = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    content["seeds"] = [1, 2]
    content["network"]["hidden"] = [16, 12]
    content["training"] |= {"epochs": 3, "batch_size": 8}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path


@pytest.fixture
def closed() -> Iterator[Path]:
    """Make a folder that may not be read, and become a user whom this stops: root is not."""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "closed"
        folder.mkdir(mode=0)
        user = os.geteuid()
        os.seteuid(user or 65534)
        try:
            yield folder
        finally:
            os.seteuid(user)


def built(folder: Path, name: str, build: Callable[[Path], None]) -> Path:
    """Build a repository once for all processes that run tests, in a folder that they share."""
    repository = folder / name
    with FileLock(folder / f"{name}.lock"):
        if not repository.is_dir():
            build(folder / f"{name}-unfinished")
            (folder / f"{name}-unfinished").rename(repository)
    return repository


@pytest.fixture(scope="session")
def built_in(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Name the folder for what is built once."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def finished_study(built_in: Path) -> Path:
    """Run a small study on the digits, by one worker, and commit its results."""

    def build(repository: Path) -> None:
        copy_project(PROJECT, repository)
        change_params(repository, **SMALL_STUDY)
        begin(repository)
        call(repository, "dvc", "repro", WORKERS="1")
        commit(repository, "Results")

    return built(built_in, "study", build)


@pytest.fixture(scope="session")
def finished_audit(finished_study: Path) -> Path:
    """Audit the small study, and commit the results."""

    def build(repository: Path) -> None:
        copied(finished_study, repository)
        change_params(repository, **SMALL_AUDIT)
        call(repository, "dvc", "repro", "--all-pipelines")
        commit(repository, "Results of the audit")

    return built(finished_study.parent, "audit", build)
