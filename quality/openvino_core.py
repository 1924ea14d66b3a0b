"""OpenVINO as every network here runs on it: one Core of the process, on the CPU, the same bits under any load."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, Final

# One stream on one thread, not pinned (two pinned processes share core 0), and 32 bits even if the processor has
# bfloat16. With these settings the same input gives the same bits under any load.
CPU: Final = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
    "INFERENCE_PRECISION_HINT": "f32",
}


@cache
def core() -> Any:
    """The one Core of this process, kept to its end.

    OpenVINO 2026.4's CPU plugin gives the calling thread another signal stack and takes it back when its Core goes. Of
    two, the later then leaves the stack of the earlier, which may be gone: the next signal ends the process.
    """
    without_telemetry()
    import openvino

    return openvino.Core()


def without_telemetry() -> None:
    """Keep OpenVINO from sending usage statistics when it is imported: it forks a process for that, which may hang, and
    outlive this one with its output open.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
