"""Write the report: one page that needs no other file, from the tables of metrics/."""

import argparse
from pathlib import Path

from stages.common.errors import run, say
from stages.common.whole_files import whole_file
from stages.report.page import page
from stages.report.sections import sections
from stages.report.tables import read_audit, read_study


def main() -> None:
    """Read the tables, write the page, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, help="holds the tables")
    parser.add_argument("report", type=Path, help="page to write")
    arguments = parser.parse_args()
    study, audit = read_study(arguments.metrics), read_audit(arguments.metrics)
    with whole_file(arguments.report) as draft:
        draft.write_text(page(study, sections(study, audit)), encoding="utf-8")
    say(f"Open {arguments.report.resolve().as_uri()} in a browser")


if __name__ == "__main__":
    run(main)
