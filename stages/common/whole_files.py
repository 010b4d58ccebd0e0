"""Files appear whole or not at all: written beside their place, then renamed into it.

What is half-written lies in a folder `.scratch-<process>-…` beside its target. git and DVC ignore
such folders. The next stage that writes there removes those whose process has ended.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from stages.common import lifetime
from stages.common.errors import UserError


@contextmanager
def whole_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `target` if the block succeeds, replacing it.

    Raises:
        UserError: The disk is full, the place cannot be written to, or a file is there.
    """
    with _scratch_beside(target) as scratch:
        if target.exists() and not target.is_dir():
            raise UserError(f"{target} is a file, not a folder: move it away, then run again")
        draft = scratch / target.name
        draft.mkdir()
        yield draft
        if target.is_dir():
            target.replace(scratch / f"{target.name}.old")
        draft.replace(target)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; the file becomes `target` if the block succeeds.

    Raises:
        UserError: The disk is full, the place cannot be written to, or a folder is there.
    """
    with _scratch_beside(target) as scratch:
        if target.is_dir():
            raise UserError(f"{target} is a folder, not a file: move it away, then run again")
        draft = scratch / target.name
        yield draft
        draft.replace(target)


@contextmanager
def _scratch_beside(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target`, removed when the block ends.

    Raises:
        UserError: It cannot be made, or what the block wrote there cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        scratch = Path(tempfile.mkdtemp(prefix=f".scratch-{os.getpid()}-", dir=target.parent))
    except OSError as error:
        raise _unwritable(target, error) from error
    lifetime.scratch.add(scratch)
    try:
        yield scratch
    except OSError as error:
        # An error while writing names a path in the scratch, or none.
        if error.filename is None or scratch.name in f"{error.filename} {error.filename2}":
            raise _unwritable(target, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lifetime.scratch.discard(scratch)


def _unwritable(target: Path, error: OSError) -> UserError:
    for above in target.parents:
        # Where access is denied, os.path answers False; pathlib may raise.
        if os.path.exists(above) and not os.path.isdir(above):
            return UserError(f"{above} is a file, not a folder: move it away, then run again")
    return UserError(
        f"{target} cannot be written ({error.strerror or error}): see that its disk has space "
        f"and that {target.parent} is a folder you may write to, then run again"
    )


def sweep(folder: Path) -> None:
    """Remove from a folder what processes that have ended left half-written there."""
    ours = {each.name for each in lifetime.scratch}
    for each in folder.iterdir():
        made = re.match(r"\.scratch-(\d+)-", each.name)
        if made and each.name not in ours:
            process = int(made[1])
            if process == os.getpid() or not psutil.pid_exists(process):
                shutil.rmtree(each, ignore_errors=True)


def json_text(content: Any) -> str:
    """Write strict JSON (no NaN) in a stable, readable form."""
    return json.dumps(content, indent=2, allow_nan=False) + "\n"
