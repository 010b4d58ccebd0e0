"""Judge every claim: claims.csv, claims.md, and what changes between rungs."""

import argparse
from pathlib import Path

from stages.audit.judging import read_tables
from stages.audit.judging.changes import changes
from stages.audit.judging.claims_table import changes_table, claims_table
from stages.audit.judging.evidence import Evidence
from stages.audit.judging.report import report
from stages.audit.judging.verdicts import judge
from stages.common.errors import run
from stages.common.tables import csv_text
from stages.common.whole_files import whole_file


def main() -> None:
    """Read the tables, write the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "tables",
        type=Path,
        help="holds networks.csv, epochs.csv and failure.csv; changes.csv is written there",
    )
    parser.add_argument("metrics", type=Path, help="claims.csv and claims.md are written there")
    arguments = parser.parse_args()
    evidence = Evidence(
        read_tables.networks(arguments.tables), read_tables.epochs(arguments.tables)
    )
    failure = read_tables.failure(arguments.tables)
    judged, found = judge(evidence), changes(evidence)
    tables = {
        arguments.metrics / "claims.csv": claims_table(judged, evidence),
        arguments.tables / "changes.csv": changes_table(found, evidence),
    }
    for path, table in tables.items():
        with whole_file(path) as draft:
            draft.write_text(csv_text(table), encoding="utf-8")
    with whole_file(arguments.metrics / "claims.md") as draft:
        draft.write_text(report(judged, found, evidence, failure), encoding="utf-8")


if __name__ == "__main__":
    run(main)
