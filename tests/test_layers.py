"""A folder is what an edit reruns: imports, declared dependencies and README agree on it."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repositories import PROJECT, call, clone_without_data

LAYERS = (
    "stages/common",
    "stages/training",
    "stages/diagnostics",
    "stages/results",
    "stages/figures",
    "stages/audit/training",
    "stages/audit/judging",
    "stages/audit/drawing",
    "stages/report",
)
"""Each may import those before it."""
CLUSTER = PROJECT / "stages/cluster.py"
"""Takes blocks of networks to a cluster. Where they are worked on changes no byte of any result, so
that no stage depends on it, although the second layer imports it."""
PIPELINES = ("dvc.yaml", "audit/dvc.yaml")


def definitions() -> dict[str, dict[str, Any]]:
    stages: dict[str, dict[str, Any]] = {}
    for pipeline in PIPELINES:
        stages |= yaml.safe_load((PROJECT / pipeline).read_text(encoding="utf-8"))["stages"]
    return stages


def module_file(name: str) -> Path:
    return PROJECT / (name.replace(".", "/") + ".py")


def imports_of(path: Path) -> set[Path]:
    """Find the modules of ours that a file imports itself, except for the cluster's."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {module_file(name) for name in names if module_file(name).is_file()} - {CLUSTER}


def reached_from(path: Path) -> set[str]:
    """List every file of ours that a file imports, directly or not, itself among them."""
    found: set[Path] = set()
    waiting = {path}
    while waiting:
        file = waiting.pop()
        found.add(file)
        waiting |= imports_of(file) - found
    return {file.relative_to(PROJECT).as_posix() for file in found}


@pytest.mark.parametrize("name", definitions())
def test_every_import_lies_under_a_declared_dependency_and_every_one_is_needed(name: str) -> None:
    stage = definitions()[name]
    files = reached_from(module_file(stage["cmd"].split()[2]))
    declared = [dep for dep in stage["deps"] if dep.startswith("stages/")]
    under = {dep: {f for f in files if f == dep or f.startswith(f"{dep}/")} for dep in declared}
    assert files - set().union(*under.values()) == set()
    assert [dep for dep, inside in under.items() if not inside] == []


@pytest.mark.parametrize("layer", LAYERS)
def test_no_folder_imports_a_later_one(layer: str) -> None:
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    for path in (PROJECT / layer).glob("*.py"):
        for file in imports_of(path):
            assert file.relative_to(PROJECT).as_posix().rpartition("/")[0] in allowed, path


def test_every_folder_of_code_is_a_layer() -> None:
    folders = {
        path.parent.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "stages").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert folders == {*LAYERS, "stages", "stages/audit"}


def promised() -> dict[str, set[str]]:
    """Read README's table: folder → the stages that an edit in it makes stale."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    _, table, _ = re.split(r"<!-- /?what an edit reruns -->", readme)
    everything = {name.split("@")[0] for name in definitions()}
    promises = {}
    for line in table.strip().splitlines()[2:]:
        folder, stages = (re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3])
        promises[folder[0].rstrip("/")] = set(stages) or everything
    return promises


def edit(layer: Path) -> None:
    """Edit one module of a layer, but not its parameters, which the check reads besides."""
    modules = [path for path in layer.glob("*.py") if path.name != "__init__.py"]
    with min(path for path in modules if path.name != "parameters.py").open("a") as module:
        module.write("# edited\n")


def test_an_edit_makes_stale_what_readme_says(tmp_path: Path) -> None:
    """All layers are edited at once: DVC names, for each stage, the folders that have changed."""
    clone = clone_without_data(tmp_path / "clone")
    for layer in LAYERS:
        edit(clone / layer)
    stale: dict[str, set[str]] = {layer: set() for layer in LAYERS}
    for stage, changes in json.loads(call(clone, "dvc", "status", "--json")).items():
        deps = [change.get("changed deps", {}) for change in changes if isinstance(change, dict)]
        for layer in stale.keys() & {dep for changed in deps for dep in changed}:
            stale[layer].add(stage.rpartition(":")[2].split("@")[0])
    assert stale == promised()
