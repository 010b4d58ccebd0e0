"""Run the whole pipeline on scikit-learn's digits, in a folder of its own; no network needed."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from stages.core.errors import UserError, run

QUICK_DIAGNOSIS = {"examples": 500, "every_epochs": 5, "tolerance": 0.01}
"""Instead of every epoch: measuring would take longer than training."""


def copy_project(project: Path, target: Path) -> None:
    """Copy the project's own files, edited or not, without its results and what git ignores.

    Args:
        project: A git checkout.
        target: A folder that does not exist yet.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listing.stdout.split("\0"):
        is_result = Path(name).name == "dvc.lock" or name.startswith("metrics/")
        if name and not is_result and (project / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, target / name)


def change_params(project: Path, **changes: object) -> None:
    """Set top-level keys of a project's params.yaml; its comments stay."""
    path = project / "params.yaml"
    yaml = YAML()
    content = yaml.load(path)
    content.update(changes)
    yaml.dump(content, path)


def main() -> None:
    """Copy the project, run it on the digits, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    shutil.rmtree(folder, ignore_errors=True)
    copy_project(Path.cwd(), folder)
    change_params(folder, datasets=["digits"], diagnose=QUICK_DIAGNOSIS)
    for command in (["config", "core.no_scm", "true"], ["repro"]):
        status = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder, check=False)
        if status.returncode:
            raise UserError(f"dvc {' '.join(command)} failed in {folder}; its message is above")
    print("\nscikit-learn's digits, 1,797 images; what the columns mean is in README.md:\n")
    print((folder / "metrics" / "grid.md").read_text(encoding="utf-8"))
    print(f"Tables in {folder / 'metrics'}, figures in {folder / 'metrics/figures'}")


if __name__ == "__main__":
    run(main)
