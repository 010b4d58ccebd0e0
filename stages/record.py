"""Copy what was measured of one training run to a folder that git keeps.

Measuring takes long, so DVC should keep its results in its cache, and the results should be in git
as well. DVC allows only one of the two for one file: hence the copy.
"""

import argparse
from pathlib import Path

from stages.common.errors import reading, run
from stages.common.parameters import CANDIDATE
from stages.common.whole_files import whole_directory


def main() -> None:
    """Copy one run's measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds diagnostics/<dataset>/<rate>/")
    parser.add_argument("measured", type=Path, help="the copy goes to <dataset>/<rate>/ in it")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--lr", default=CANDIDATE, help="a rate; without it, the candidate")
    arguments = parser.parse_args()
    place = Path(arguments.dataset, arguments.lr)
    source = arguments.data / "diagnostics" / place
    stage = f"diagnose@{arguments.dataset}-{arguments.lr}"
    if arguments.lr == CANDIDATE:
        stage = f"diagnose_candidate@{arguments.dataset}"
    command = f"dvc repro --force --single-item {stage}"
    contents = {}
    with reading(source, command):
        for file in source.iterdir():
            with reading(file, command):
                contents[file.name] = file.read_bytes()
    with whole_directory(arguments.measured / place) as draft:
        for name, content in contents.items():
            (draft / name).write_bytes(content)


if __name__ == "__main__":
    run(main)
