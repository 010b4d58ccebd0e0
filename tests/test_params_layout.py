"""What DVC makes of params.yaml when an experiment sets a value."""

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

from tests.repositories import begin, call

PROJECT = Path(__file__).parent.parent
LINES = (PROJECT / "params.yaml").read_text(encoding="utf-8").splitlines()


def scalars(content: dict, above: str = "") -> list[str]:
    """List the dotted keys that hold neither a section nor a list."""
    keys = []
    for key, value in content.items():
        if isinstance(value, dict):
            keys += scalars(value, f"{above}{key}.")
        elif not isinstance(value, list):
            keys.append(f"{above}{key}")
    return keys


def set_by_dvc(folder: Path, setting: str) -> list[str]:
    """Return the lines of the project's params.yaml after `dvc exp run -S setting`."""
    path = folder / "params.yaml"
    shutil.copy(PROJECT / "params.yaml", path)
    apply_overrides(path, [setting])
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("key", scalars(yaml.safe_load("\n".join(LINES))))
def test_setting_a_value_changes_its_line_alone(tmp_path: Path, key: str) -> None:
    changed = set_by_dvc(tmp_path, f"{key}=0.125")
    name = key.rpartition(".")[2]
    assert len(changed) == len(LINES)
    pairs = [(old, new) for old, new in zip(LINES, changed, strict=True) if old != new]
    assert len(pairs) == 1
    old, new = pairs[0]
    assert old.strip().startswith(f"{name}:")
    assert new == f"{old[: old.index(':')]}: 0.125"


@pytest.mark.parametrize(
    "setting",
    [
        "learning_rates=[0.1,0.2]",
        "datasets=[digits]",
        "seeds=[42]",
        "network.hidden=[16,12,11]",
        "audit.ladder=[clipped]",
        "audit.recipes.conventional.rates=null",
        "audit.groups=[1000,1010]",
    ],
)
def test_setting_a_list_keeps_all_that_does_not_belong_to_it(tmp_path: Path, setting: str) -> None:
    def without_lists(lines: list[str]) -> list[str]:
        return [line for line in lines if not line.strip().startswith("- ")]

    assert without_lists(set_by_dvc(tmp_path, setting)) == without_lists(LINES)


def test_an_experiment_changes_one_line_of_params_yaml(tmp_path: Path) -> None:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  any:\n    cmd: python --version\n    params: [lr, training]\n",
        encoding="utf-8",
    )
    begin(tmp_path)
    call(tmp_path, "dvc", "init", "--quiet")
    call(tmp_path, "git", "commit", "--quiet", "--all", "--message", "DVC")
    call(tmp_path, "dvc", "exp", "run", "-S", "lr=0.48", "-S", "training.clip_norm=1.0")
    difference = call(tmp_path, "git", "diff", "--unified=0", "params.yaml")
    changes = [
        line for line in difference.splitlines() if line[:1] in "+-" and line[1:2] != line[:1]
    ]
    assert changes == ["-lr: 0.3", "+lr: 0.48", "-  clip_norm:", "+  clip_norm: 1.0"]
