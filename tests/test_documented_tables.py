"""docs/tables.md describes every column of every committed table, and no other."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.common.parameters import read_yaml
from tests.repositories import PROJECT

PAGE = PROJECT / "docs" / "tables.md"
NAME = re.compile(r"`([^`]+)`")
SHARED = "Shared columns"


def sections() -> dict[str, str]:
    """Split the page by its headings of the second level."""
    _, *parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {title.strip("` "): body for title, _, body in (part.partition("\n") for part in parts)}


def rows(body: str) -> dict[str, str]:
    """Read a section's table: column → its type."""
    cells = [line.split("|")[1:-1] for line in body.splitlines() if line.startswith("| `")]
    return {NAME.findall(row[0])[0]: row[2].strip() for row in cells}


def documented() -> dict[str, dict[str, str]]:
    """List the columns of each table with their types, those that are shared among them."""
    parts = sections()
    shared = rows(parts[SHARED])
    tables = {}
    for title, body in parts.items():
        if title.startswith("metrics/"):
            listed = re.search(rf"^{SHARED}: (.*?)\n\n", f"{body}\n\n", re.MULTILINE | re.DOTALL)
            names = NAME.findall(listed[1]) if listed else []
            tables[title] = {name: shared[name] for name in names} | rows(body)
    return tables


QUANTITIES = "|".join(
    pd.read_csv(PROJECT / "metrics" / "seeds.csv").loc[:, "validation_accuracy":].columns  # type: ignore[misc]
)
PLACEHOLDERS = {
    "<dataset>": r"\w+",
    "<rate>": r"[^/]+",
    "<layer>": r"\d+",
    "<how>": "mean|median|p95|max",
    "<quantity>": QUANTITIES,
    "<recipe>": r"\w+",
    "<group>": r"\d+",
    "<other>": "other_|",
    "<end>": "_low|_high|",
    "<half>": "lower|upper",
    "<when>": "matched_|last_",
    "<test>": "difference|not_better|not_worse|equivalent",
    "<period>": r"in_epoch_1|in_epochs_2_3|later",
    "<percent>": "10|50|90",
}


def matches(pattern: str, name: str) -> bool:
    """Tell whether a documented name, placeholders and all, stands for this one."""
    parts = re.split("(<[^>]+>)", pattern)
    regex = "".join(
        f"({PLACEHOLDERS[part]})" if part in PLACEHOLDERS else re.escape(part) for part in parts
    )
    return re.fullmatch(regex, name) is not None


def committed() -> list[str]:
    """List the tables of metrics/."""
    files = (PROJECT / "metrics").rglob("*.*")
    tables = (file for file in files if file.suffix in (".csv", ".json"))
    return sorted(file.relative_to(PROJECT).as_posix() for file in tables)


def columns(path: Path) -> dict[str, list[Any]]:
    """Read a table's columns with their values; of JSON the keys, without the datasets' level."""
    if path.suffix == ".csv":
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        return {name: table[name].dropna().tolist() for name in map(str, table)}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if path.name == "run.json":
        return {key: value if isinstance(value, list) else [value] for key, value in found.items()}
    listed: dict[str, list[Any]] = {}
    for groups in found.values():
        for group, values in groups.items():
            for key, value in values.items():
                listed.setdefault(f"{group}.{key}", []).append(value)
    return listed


def is_of(kind: str, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "whole":
        return not isinstance(value, str) and float(value).is_integer()
    return kind == "number" and isinstance(value, (int, float))


@pytest.mark.parametrize("name", committed())
def test_every_column_of_a_table_is_described_with_its_type(name: str) -> None:
    described = [body for title, body in documented().items() if matches(title, name)]
    assert len(described) == 1, f"{name} has {len(described)} sections in docs/tables.md"
    found, told = columns(PROJECT / name), described[0]
    kinds = {
        column: [kind for pattern, kind in told.items() if matches(pattern, column)]
        for column in found
    }
    assert {column: kind for column, kind in kinds.items() if len(kind) != 1} == {}
    assert [
        (column, value)
        for column, values in found.items()
        for value in values
        if not is_of(kinds[column][0], value)
    ] == []


@pytest.mark.parametrize("title", documented())
def test_every_column_that_is_described_exists(title: str) -> None:
    files = [name for name in committed() if matches(title, name)]
    audit = read_yaml(PROJECT / "params.yaml")["audit"]
    by_epoch = {name for name, recipe in audit["recipes"].items() if recipe.get("by_epoch")}
    if title.endswith("/epochs.csv") and "<" in title and not by_epoch & {*audit["apart"]}:
        pytest.skip("no recipe whose epochs are measured is among those that are run")
    assert files, f"no table is called {title}"
    found = {column for name in files for column in columns(PROJECT / name)}
    told = documented()[title]
    assert [name for name in told if not any(matches(name, column) for column in found)] == []
