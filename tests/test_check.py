"""The stage that checks params.yaml and clears away what it no longer names."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stages.check import Params, main, memory_bytes, remove, visible
from stages.common.errors import UserError
from stages.common.parameters import checked, read_yaml
from tools.demo import change_params

PROJECT = Path(__file__).parent.parent
PARAMS = (PROJECT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture
def run_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a function that runs the stage, given the text of params.yaml, in tmp_path."""

    def run(params: str) -> None:
        (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["check", "data", "metrics"])
        main()

    return run


def fill(folder: Path, *names: str) -> None:
    """Make files, each with its own name as content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def files(folder: Path) -> list[str]:
    """List all files except params.yaml and the stage's output."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted({*found} - {"params.yaml", "data/checked.txt"})


@pytest.mark.parametrize("lr", ["0.3", "1e-05"])
def test_the_output_is_the_same_whatever_valid_parameters_say(
    tmp_path: Path, run_stage: Callable[[str], None], lr: str
) -> None:
    run_stage(PARAMS.replace("lr: 0.3", f"lr: {lr}"))
    assert (tmp_path / "data" / "checked.txt").read_bytes() == b"params.yaml is valid.\n"


@pytest.mark.parametrize(
    ("written", "instead", "told"),
    [
        (
            "  seed: 0",
            "  sed: 0",
            "unknown key split.sed: the keys known here are validation_fraction, seed",
        ),
        (
            "\n- 0.384",
            '\n- "0.4; touch x;#"',
            'learning_rates.2 = "0.4; touch x;#": give a number above 0 and at most 1000000, '
            "of at most 6 digits, such as 0.3",
        ),
        (
            "      schedule: warmup_cosine\n    core_steep:",
            "      schedule: warmup_cosine\n      decay: 2\n    core_steep:",
            "audit.recipes.warmup_cosine.decay = 2: give a number above 0 and at most 1, "
            "or nothing",
        ),
        (
            "    warmup_epochs: 1",
            "    warmup_epochs: 11",
            "audit.recipes.warmup_cosine: schedule.warmup_epochs = 11 is longer than the "
            "training: give at most 10, its epochs",
        ),
    ],
)
def test_wrong_parameters_are_refused_and_nothing_is_touched(
    tmp_path: Path, run_stage: Callable[[str], None], written: str, instead: str, told: str
) -> None:
    fill(tmp_path, "data/runs/mnist/0.7/run.json")
    with pytest.raises(UserError, match=f"^{re.escape(f'params.yaml: {told}')}$"):
        run_stage(PARAMS.replace(written, instead))
    assert files(tmp_path) == ["data/runs/mnist/0.7/run.json"]
    assert not (tmp_path / "data" / "checked.txt").exists()


def test_what_no_memory_holds_is_refused_before_anything_is_touched(
    tmp_path: Path, run_stage: Callable[[str], None]
) -> None:
    fill(tmp_path, "data/runs/mnist/0.7/run.json")
    with pytest.raises(UserError) as refused:
        run_stage(
            PARAMS.replace("  - 256\n  - 128\n", "  - 10000\n  - 10000\n", 1).replace(
                "  epochs: 10\n", "  epochs: 100000\n"
            )
        )
    # 3 copies of 4 bytes for 8 seeds, after each epoch 107,960,010 parameters, and 8 numbers in
    # each of its 1,688 steps.
    has = psutil.virtual_memory().total / 1e9
    assert str(refused.value) == (
        "params.yaml: seeds × network.hidden × training.epochs: one stage takes 1036556.1 GB of "
        f"memory, and this machine has {has:.1f} GB: "
        "give fewer seeds, narrower layers, fewer epochs or larger batches"
    )
    assert files(tmp_path) == ["data/runs/mnist/0.7/run.json"]


SEEDS = "seeds × network.hidden × training.epochs"


def of_recipe(name: str) -> str:
    return f"audit.networks × the rates and epochs of audit.recipes.{name}"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, of_recipe("small_batch")),
        ({"audit.apart": ["conventional"]}, of_recipe("as_published")),
        ({"audit.apart": ["conventional"], "seeds": list(range(60))}, SEEDS),
        (
            {"audit.recipes.clipped.rates": [n + 1 for n in range(100)]},
            of_recipe("clipped"),
        ),
        ({"audit.networks": 1, "seeds": [1], "network.hidden": [1000, 1000]}, "network.hidden"),
    ],
)
def test_what_memory_just_holds_is_accepted_and_a_byte_less_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_stage: Callable[[str], None],
    changes: dict[str, object],
    key: str,
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(PARAMS, encoding="utf-8")
    change_params(tmp_path, **changes)
    takes = memory_bytes(checked(Params, read_yaml(path), path))
    assert takes[key] == max(takes.values())

    def machine(total: int) -> None:
        memory = psutil.virtual_memory()._replace(total=total)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    text = path.read_text(encoding="utf-8")
    machine(takes[key])
    run_stage(text)
    machine(takes[key] - 1)
    with pytest.raises(UserError, match=f"^params.yaml: {key}: one stage takes "):
        run_stage(text)


def test_another_file_of_parameters_may_be_named(tmp_path: Path) -> None:
    other, data, metrics = (tmp_path / name for name in ("other.yaml", "data", "metrics"))
    other.write_text(PARAMS.replace("lr: 0.3", "lr: -1"), encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "stages.check", data, metrics, "--params", other],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        1,
        "",
        f"error: {other}: lr = -1: give a number above 0 and at most 1000000, of at most 6 "
        "digits, such as 0.3\n",
    )


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone.csv"
    with pytest.raises(UserError) as refused:
        remove(gone)
    assert str(refused.value) == (
        f"{gone}, which params.yaml no longer names, cannot be removed "
        f"(No such file or directory): remove it by hand"
    )


def test_a_folder_that_cannot_be_read_is_told(closed: Path) -> None:
    with pytest.raises(UserError) as refused:
        visible(closed / "runs")
    assert str(refused.value) == (
        f"{closed}/runs cannot be read (Permission denied): allow yourself to read it"
    )


def test_folders_that_the_parameters_no_longer_name_are_cleared_away(
    tmp_path: Path, run_stage: Callable[[str], None]
) -> None:
    params = (
        PARAMS.replace("- 0.1\n", "- 1e-3\n- 1\n- 2.0\n", 1)
        .replace("- fashion_mnist\n", "")
        .replace("  - clipped\n", "", 1)
    )
    kept = [
        "data/audit/mnist/conventional/1000/1e-05/run.json",
        "data/audit/mnist/core/1000/0.1/run.json",
        "data/audit/mnist/core/1010/0.1/run.json",
        "data/diagnostics/mnist/0.2/run.json",
        "data/diagnostics/mnist/candidate/run.json",
        "data/runs/mnist/0.001/run.json",
        "data/runs/mnist/0.2/run.json",
        "data/runs/mnist/1/run.json",
        "data/runs/mnist/2.0/run.json",
        "data/runs/mnist/candidate/run.json",
        "metrics/audit/cells/mnist/core/1010/networks.csv",
        "metrics/audit/mnist.csv",
        "metrics/runs/mnist/0.001/run.json",
        "metrics/runs/mnist/candidate/run.json",
    ]
    cleared = [
        "data/audit/fashion_mnist/core/1000/0.1/run.json",
        "data/audit/mnist/clipped/1000/0.1/run.json",
        "data/audit/mnist/core/1020/0.1/run.json",
        "data/audit/mnist/conventional/1010/1e-05/run.json",
        "data/diagnostics/fashion_mnist/0.2/run.json",
        "data/diagnostics/mnist/0.1/run.json",
        "data/runs/fashion_mnist/0.2/run.json",
        "data/runs/mnist/0.1/run.json",
        "data/runs/mnist/1.0/run.json",
        "data/runs/mnist/1e-3/run.json",
        "data/runs/mnist/2/run.json",
        "metrics/audit/cells/fashion_mnist/core/1000/networks.csv",
        "metrics/audit/cells/mnist/clipped/1000/networks.csv",
        "metrics/audit/cells/mnist/conventional/1010/networks.csv",
        "metrics/runs/fashion_mnist/candidate/run.json",
        "metrics/runs/mnist/0.1/run.json",
    ]
    fill(tmp_path, *kept, *cleared)
    run_stage(params)
    assert files(tmp_path) == kept
    assert not (tmp_path / "data" / "runs" / "mnist" / "0.1").exists()
    assert not (tmp_path / "metrics" / "runs" / "fashion_mnist").exists()


def test_nothing_else_is_cleared_away(tmp_path: Path, run_stage: Callable[[str], None]) -> None:
    elsewhere = [
        ".git/runs/mnist/0.7/config",
        "0.7/run.json",
        "data/0.7/run.json",
        "data/README.md",
        "data/audit/mnist/core/notes.txt",
        "data/diagnostics/mnist/notes.txt",
        "data/processed/digits.npz",
        "data/raw/0.7/run.json",
        "data/runs/mnist/.scratch-1-x/run.json",
        "data/runs/mnist/0.1/0.7/run.json",
        "data/runs/mnist/notes.txt",
        "data/runs/notes.txt",
        "metrics/0.7/run.json",
        "metrics/audit/mnist/0.7/run.json",
        "metrics/audit/networks.csv",
        "metrics/figures/0.7/run.json",
        "metrics/runs/.hidden/notes.txt",
        "metrics/runs/mnist/notes.csv",
        "metrics/runs/notes.txt",
        "metrics/seeds.csv",
        "runs/mnist/0.7/run.json",
    ]
    fill(tmp_path, *elsewhere)
    run_stage(PARAMS)
    assert files(tmp_path) == sorted(elsewhere)


def test_links_are_not_followed(tmp_path: Path, run_stage: Callable[[str], None]) -> None:
    fill(tmp_path, "elsewhere/0.7/run.json", "data/runs/mnist/0.1/run.json")
    (tmp_path / "data" / "runs" / "digits").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "runs" / "mnist" / "0.7").symlink_to(tmp_path / "elsewhere" / "0.7")
    run_stage(PARAMS)
    assert files(tmp_path / "elsewhere") == ["0.7/run.json"]
    assert (tmp_path / "data" / "runs" / "mnist" / "0.7").is_symlink()


def test_neither_pytorch_nor_pandas_is_loaded() -> None:
    code = "import sys, stages.check; print({'torch', 'pandas', 'sklearn'} & sys.modules.keys())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert ended.stdout == "set()\n"
