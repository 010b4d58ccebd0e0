"""Stages side by side: what is left running when they are told to stop."""

import sys
import threading
import time
from pathlib import Path

import pytest

from stages.jobs import Processes

SLEEPER = """
import pathlib, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
child.wait()
"""


def alive(process: int) -> bool:
    """Tell whether a process runs (Linux; a zombie does not)."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text(encoding="utf-8")


def test_a_command_comes_back_with_its_status_and_output() -> None:
    command = [sys.executable, "-c", "import sys; print('said'); sys.exit(3)"]
    assert Processes().run(command) == (3, "said\n")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks processes up in /proc")
def test_stopping_leaves_no_grandchild_behind(tmp_path: Path) -> None:
    processes, note = Processes(), tmp_path / "grandchild"
    results: list[tuple[int, str]] = []
    thread = threading.Thread(
        target=lambda: results.append(processes.run([sys.executable, "-c", SLEEPER, str(note)]))
    )
    thread.start()
    deadline = time.monotonic() + 20
    while not (note.exists() and note.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    grandchild = int(note.read_text(encoding="utf-8"))
    assert alive(grandchild)
    processes.stop()
    thread.join(20)
    assert results[0][0] != 0
    assert not alive(grandchild)
    assert processes.run([sys.executable, "-c", "print('late')"]) == (130, "")
