"""Files appear whole or not at all: written beside their place, then renamed into it."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if the block succeeds, replacing it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        draft = Path(scratch) / target.name
        draft.mkdir()
        yield draft
        if target.is_dir():
            shutil.rmtree(target)
        draft.replace(target)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; the file becomes `target` if the block succeeds."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as scratch:
        draft = Path(scratch) / target.name
        yield draft
        draft.replace(target)


def json_text(content: Any) -> str:
    """Write strict JSON (no NaN) in a stable, readable form."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
