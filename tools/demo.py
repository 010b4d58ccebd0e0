"""Run the whole pipeline on scikit-learn's digits, in a folder of its own; works offline."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from stages.common.errors import UserError, run
from stages.common.whole_files import whole_directory

QUICK_DIAGNOSIS = {"examples": 500, "every_epochs": 5, "tolerance": 0.01}
"""Not every epoch is measured: that would take longer than training."""


def copy_project(project: Path, target: Path) -> None:
    """Copy the project's own files, edited or not, without its results and what git ignores.

    Args:
        project: A git checkout.
        target: A folder without any of the project's files.

    Raises:
        UserError: The project is no git checkout.
    """
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )
    if listing.returncode:
        raise UserError(
            f"the files of {project} cannot be listed ({listing.stderr.strip()}): "
            f"clone the project with git, then run again in the clone"
        )
    for name in listing.stdout.split("\0"):
        is_result = Path(name).name == "dvc.lock" or name.startswith("metrics/")
        if name and not is_result and (project / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, target / name)


def change_params(project: Path, **changes: object) -> None:
    """Set keys of a project's params.yaml and keep its comments; dots lead into a section."""
    path = project / "params.yaml"
    yaml = YAML()
    content = yaml.load(path)
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = content
        for name in sections:
            section = section[name]
        section[last] = value
    yaml.dump(content, path)


def main() -> None:
    """Copy the project, run it on the digits, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with whole_directory(folder) as draft:
        copy_project(Path.cwd(), draft)
        change_params(draft, datasets=["digits"], diagnose=QUICK_DIAGNOSIS)
    for command in (["config", "core.no_scm", "true"], ["repro"]):
        status = subprocess.run([sys.executable, "-m", "dvc", *command], cwd=folder, check=False)
        if status.returncode:
            raise UserError(f"dvc {' '.join(command)} failed in {folder}; its message is above")
    print("\nscikit-learn's digits, 1,797 images; docs/method.md says what the columns mean:\n")
    print((folder / "metrics" / "grid.md").read_text(encoding="utf-8"))
    print(f"Tables in {folder / 'metrics'}, figures in {folder / 'metrics/figures'}")


if __name__ == "__main__":
    run(main)
