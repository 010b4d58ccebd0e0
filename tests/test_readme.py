"""README and docs/ show the committed results, and their links lead somewhere."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from stages.common.errors import UserError
from tests.repositories import PROJECT
from tools.readme import results, updated, verdicts

PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")


def test_readme_shows_the_committed_results() -> None:
    """Where this fails, `python -m tools.readme` puts them in."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert readme == updated(readme, PROJECT / "metrics")


def test_readme_is_one_screen_of_a_patient_reader() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_table_of_results_shows_the_means_of_those_that_trained() -> None:
    grid = pd.DataFrame(
        {
            "dataset": "mnist",
            "role": ["grid", "candidate", "grid"],
            "learning_rate": [0.6, 0.3, 0.1],
            "seeds_trained": [0, 2, 8],
            "seeds_undertrained": [1, 0, 0],
            "seeds_lost": [7, 1, 0],
            "test_accuracy_mean": [None, 0.97, 0.98123],
            "test_accuracy_high": [None, None, 0.98223],
            "feature_sparsity_2_mean": [None, 0.2, 0.25],
            "feature_sparsity_2_high": [None, None, 0.26],
            "feature_sparsity_10_mean": [None, 0.3, 0.35],
            "feature_sparsity_10_high": [None, None, 0.37],
        }
    )
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results(grid).splitlines()]
    del rows[1]  # the line below the names
    assert rows == [
        ["learning rate", "networks", "test accuracy (%)", "active features (%)"],
        ["MNIST, 0.1", "8 trained", "98.12 ± 0.10", "35.0 ± 2.0"],
        ["MNIST, 0.3 (candidate)", "2 trained, 1 lost", "97.00", "30.0"],
        ["MNIST, 0.6", "1 undertrained, 7 lost", "–", "–"],
    ]


def test_a_readme_without_its_markers_is_refused() -> None:
    with pytest.raises(UserError, match=r"README\.md has no table between"):
        updated("# Something else\n", PROJECT / "metrics")


@pytest.mark.parametrize(
    ("absent", "command"), [("grid.csv", "dvc repro"), ("claims.md", "make audit")]
)
def test_an_absent_table_is_named_with_what_makes_it(
    tmp_path: Path, absent: str, command: str
) -> None:
    for name in ("grid.csv", "claims.md"):
        if name != absent:
            shutil.copy(PROJECT / "metrics" / name, tmp_path / name)
    told = f"{tmp_path / absent} does not exist: create it with: {command}"
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        updated("", tmp_path)


def test_verdicts_without_a_table_are_refused() -> None:
    told = "metrics/claims.md has no table of claims: recreate it with: make audit"
    with pytest.raises(UserError, match=f"^{re.escape(told)}$"):
        verdicts("# The published claims\n")


def anchors(page: Path) -> set[str]:
    """List the places of a page that a link can name, as forges make them of its headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = ["".join(found) for found in LINK.findall(page.read_text(encoding="utf-8"))]
    lost = []
    for target in targets:
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            lost.append(target)
    assert lost == []
