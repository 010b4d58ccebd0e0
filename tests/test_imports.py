"""Stages start quickly because they import what they use and nothing heavy besides."""

import subprocess
import sys

import pytest

HEAVY = ("distributed", "dvc", "matplotlib", "pandas", "scipy", "sklearn", "torch", "torchvision")
IMPORTS = {
    "stages.download": {"pandas", "scipy", "sklearn"},
    "stages.preprocess": {"pandas", "scipy", "sklearn"},
    "stages.train": {"pandas", "torch"},
    "stages.diagnose": {"pandas", "torch"},
    "stages.record": set(),
    "stages.aggregate": {"pandas", "scipy"},
    "stages.plot": {"matplotlib", "pandas"},
    "stages.report_page": {"matplotlib", "pandas", "scipy"},
    "stages.audit.train": {"pandas", "torch"},
    "stages.audit.measure": {"pandas", "torch"},
    "stages.audit.gather": {"pandas"},
    "stages.audit.curves": {"pandas", "scipy"},
    "stages.audit.judge": {"pandas", "scipy"},
    "stages.audit.figures": {"matplotlib", "pandas"},
    "stages.check": set(),
    "tools.demo": set(),
}


@pytest.mark.parametrize("module", IMPORTS)
def test_a_stage_imports_no_library_that_it_does_not_use(module: str) -> None:
    code = f"import sys, {module}; print(*({set(HEAVY)} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) == IMPORTS[module]
