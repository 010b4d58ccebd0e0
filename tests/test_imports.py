"""Stages start quickly because they import what they use and nothing heavy besides."""

import subprocess
import sys

import pytest

HEAVY = ("distributed", "dvc", "matplotlib", "pandas", "scipy", "sklearn", "torch", "torchvision")
IMPORTS = {
    "": ("stages.check", "stages.record", "tools.demo"),
    "pandas": ("stages.audit.gather",),
    "pandas torch": (
        *("stages.train", "stages.diagnose", "stages.audit.train", "stages.audit.measure"),
    ),
    "pandas scipy": ("stages.aggregate", "stages.audit.curves", "stages.audit.judge"),
    "pandas scipy sklearn": ("stages.download", "stages.preprocess"),
    "matplotlib pandas": ("stages.plot", "stages.audit.figures"),
    "matplotlib pandas scipy": ("stages.report_page",),
}
"""Heavy libraries → the modules that use these alone."""


@pytest.mark.parametrize("libraries", IMPORTS)
def test_stages_import_no_library_that_they_do_not_use(libraries: str) -> None:
    modules = ", ".join(IMPORTS[libraries])
    code = f"import sys, {modules}; print(*({set(HEAVY)} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) == set(libraries.split())
