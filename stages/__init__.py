"""The stages of the pipeline: one module per stage, beside folders of code that they share."""

import signal
import sys

is_a_stage = sys.argv[0] == "-m"
"""`python -m stages.…` is about to import its stage, which may take seconds."""

if is_a_stage and signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
    # Until `begin`, Ctrl-C ends it at once: Python would print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from stages.common import lifetime  # noqa: E402

if is_a_stage:
    lifetime.begin()
