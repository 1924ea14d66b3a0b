"""Energy in joules from the machine's own counters, or the reason why there is none; nothing is estimated.

codecarbon is not used: without a counter it multiplies a tabulated wattage by the time, and its figures do not show
that. With a counter, it reads the same ones.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

POWERCAP: Final = Path("/sys/class/powercap")
LEAST: Final = 1.0  # seconds to measure: counters update every millisecond (RAPL) to every 0.1 s (NVML)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """``read`` returns the joules that the part ``name`` has used so far, for any purpose.

    ``wrap``: the joules after which the counter restarts at zero; None for never.
    """

    name: str
    read: Callable[[], float]
    wrap: float | None = None


def find(where: torch.device, powercap: Path = POWERCAP) -> list[Counter] | str:
    """The counters of a device, or the reason why there are none."""
    return _nvml(where) if where.type == "cuda" else _rapl(powercap)


def measure(counters: list[Counter], work: Callable[[], object], least: float = LEAST) -> float:
    """Joules per call of ``work``, averaged over the calls that fill ``least`` seconds.

    A counter that wraps more than once in that time would read too low; RAPL's counters take minutes.
    """
    before = [counter.read() for counter in counters]
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < least:
        work()
        calls += 1
    used = 0.0
    for counter, start in zip(counters, before, strict=True):
        joules = counter.read() - start
        used += joules + (counter.wrap or 0.0) if joules < 0 else joules
    return used / calls


def _rapl(powercap: Path) -> list[Counter] | str:
    """CPU packages, by Linux powercap: energy_uj and max_energy_range_uj are in microjoules."""
    packages = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not packages:
        return "this machine has no RAPL counter"
    try:
        counters = [
            Counter(
                name=(zone / "name").read_text().strip(),
                read=lambda zone=zone: int((zone / "energy_uj").read_text()) / 1e6,  # type: ignore[misc]
                wrap=int((zone / "max_energy_range_uj").read_text()) / 1e6,
            )
            for zone in packages
        ]
        for counter in counters:
            counter.read()
    except PermissionError:
        return "only root may read the RAPL counter here"
    except (OSError, ValueError):
        return "the RAPL counter cannot be read"
    return counters


def _nvml(where: torch.device) -> list[Counter] | str:
    """The GPU as a whole, Volta or later; nvmlDeviceGetTotalEnergyConsumption is in millijoules."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return "the package nvidia-ml-py, which reads the GPU counter, is not installed"
    try:
        nvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(where).uuid}"
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        counter = Counter(name="GPU", read=lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
        counter.read()
    except nvml.NVMLError as error:
        return f"the GPU counter cannot be read ({error})"
    return [counter]
