"""The versions that the results rest on, as listed in versions.txt.

That file lies in this folder so that an edit to it reruns every stage. Packages that only draw or
print (matplotlib, tabulate) are not listed: their version can change how a figure looks, but no
number.

    python -m stages.common.versions

writes the installed versions into the file. The next `dvc repro` then reruns every stage.
"""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LISTED = Path(__file__).with_name("versions.txt")


def installed(name: str) -> str:
    """Look up the version of a package, or of Python without its last part: 3.11.

    What follows a + is left out: torch 2.14.1+cpu and 2.14.1+cu130 have the same source. An absent
    package has the version "none".
    """
    if name == "python":
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "none"


def difference(listed: Path = LISTED) -> str | None:
    """Name in one line the first package with another version than listed; None if all agree.

    If the file is damaged, the line says so. Python's own version is not compared here.

    Args:
        listed: A file of lines such as torch==2.14.1.
    """
    try:
        versions = _listed(listed)
    except ValueError as error:
        return str(error)
    for name, wanted in versions:
        found = installed(name)
        if found != wanted and name != "python":
            return (
                f"{name} {found} is installed, but the results rest on {name} {wanted}: install "
                f"requirements.txt, or rerun everything with your versions after: "
                f"python -m stages.common.versions"
            )
    return None


def other_python(listed: Path = LISTED) -> str | None:
    """Say in one line that another Python made the committed results; None if this one did.

    Python itself rounds nothing, so another version is a warning and no error.
    """
    wanted = dict(_listed(listed)).get("python", installed("python"))
    if installed("python") == wanted:
        return None
    return f"python {installed('python')} is running; the committed results were made by {wanted}"


def _listed(path: Path) -> list[tuple[str, str]]:
    """Read names and versions.

    Raises:
        ValueError: The file cannot be read, or is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").split()
        if odd := [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]:
            raise ValueError(f"{odd[0]!r} is no version of a package")  # noqa: TRY301
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"{path} is damaged ({reason}): restore it with: git restore {path}"
        ) from None
    return [(name, wanted) for name, _, wanted in (line.partition("==") for line in lines)]


def write_installed(listed: Path = LISTED) -> None:
    """Replace the listed versions by the installed ones."""
    lines = [f"{name}=={installed(name)}\n" for name, _ in _listed(listed)]
    listed.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    try:
        write_installed()
    except ValueError as error:
        sys.exit(f"error: {error}")
