"""The supervised child: ``python -m semblance.ingest.run.child_main FD`` processes jobs until its parent exits."""

from __future__ import annotations

import ctypes
import signal
import sys


def main(descriptor: int) -> None:
    """Serve the socket; the libraries are imported last, so that a parent that ends meanwhile leaves no process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the driver
    _die_with_parent()
    from semblance.ingest.run.child_jobs import serve

    serve(descriptor)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent exits for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    main(int(sys.argv[1]))
