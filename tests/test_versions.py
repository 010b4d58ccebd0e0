"""The versions that results rest on."""

import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from stages.common.versions import LISTED, difference, other_python, write_installed

PROJECT = Path(__file__).parent.parent
REMEDY = (
    "install requirements.txt, or rerun everything with your versions after: "
    "python -m stages.common.versions"
)


def test_the_listed_versions_are_the_pinned_ones() -> None:
    text = (PROJECT / "requirements.txt").read_text(encoding="utf-8")
    # A pin's line ends in a backslash, for its hashes follow.
    pins = [
        Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match("[a-z]", line)
    ]
    pinned = {
        pin.name: str(pin.specifier) for pin in pins if not pin.marker or pin.marker.evaluate()
    }
    names = [
        *("numpy", "pandas", "scikit-learn", "scipy"),
        *("statsmodels", "torch", "torchvision"),
    ]
    python, *packages = LISTED.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"python==3\.\d+", python)
    assert packages == [f"{name}{pinned[name]}" for name in names]


def test_the_listed_versions_are_installed() -> None:
    assert difference() is None


def test_another_version_of_a_package_is_told(tmp_path: Path) -> None:
    listed = tmp_path / "versions.txt"
    listed.write_text(f"numpy=={version('numpy')}\npandas==2.0.1\nscipy==1.0\n", encoding="utf-8")
    assert difference(listed) == (
        f"pandas {version('pandas')} is installed, but the results rest on pandas 2.0.1: {REMEDY}"
    )


def test_another_python_is_told_and_not_insisted_on(tmp_path: Path) -> None:
    listed = tmp_path / "versions.txt"
    listed.write_text("python==3.10\n", encoding="utf-8")
    found = ".".join(platform.python_version_tuple()[:2])
    assert difference(listed) is None
    told = f"python {found} is running; the committed results were made by 3.10"
    assert other_python(listed) == told


def test_an_absent_package_is_told(tmp_path: Path) -> None:
    listed = tmp_path / "versions.txt"
    listed.write_text("no-such-package==1.0\n", encoding="utf-8")
    assert difference(listed) == (
        f"no-such-package none is installed, but the results rest on no-such-package 1.0: {REMEDY}"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"numpy==2.0\n<<<<<<< HEAD\n", "'<<<<<<<' is no version of a package"),
        (b"numpy 2.0\n", "'numpy' is no version of a package"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (None, "No such file or directory"),
    ],
)
def test_a_damaged_list_is_told_with_its_remedy(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    listed = tmp_path / "versions.txt"
    if content is not None:
        listed.write_bytes(content)
    message = f"{listed} is damaged ({told}): restore it with: git restore {listed}"
    assert difference(listed) == message
    with pytest.raises(ValueError, match=re.escape(message)):
        write_installed(listed)


def test_the_build_of_a_package_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_package-2.1+cu130.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: some-package\nVersion: 2.1+cu130\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    listed = tmp_path / "versions.txt"
    listed.write_text("some-package==2.1\n", encoding="utf-8")
    assert version("some-package") == "2.1+cu130"
    assert difference(listed) is None


def test_the_installed_versions_take_the_place_of_the_listed_ones(tmp_path: Path) -> None:
    listed = tmp_path / "versions.txt"
    listed.write_text("python==3.10\ntorch==1.0\n", encoding="utf-8")
    write_installed(listed)
    python = ".".join(platform.python_version_tuple()[:2])
    torch = version("torch").partition("+")[0]
    assert listed.read_text(encoding="utf-8") == f"python=={python}\ntorch=={torch}\n"
