"""Joules by the machine's own counters, or the reason why there are none; nothing is estimated.

codecarbon is not used: where it finds no counter it multiplies a table's wattage by the time, without saying so in its
figures. Where it finds one, it reads these.
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
LEAST: Final = 1.0  # seconds that are measured: the counters move every millisecond (RAPL) to tenth of a second (NVML)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """``read`` gives the joules used so far by all that ``name`` names, whoever used them; ``wrap``: the joules after
    which it begins at nought again, None for never.
    """

    name: str
    read: Callable[[], float]
    wrap: float | None = None


def find(where: torch.device, powercap: Path = POWERCAP) -> list[Counter] | str:
    """The counters for work on ``where``, or why there are none."""
    return _nvml(where) if where.type == "cuda" else _rapl(powercap)


def measure(counters: list[Counter], work: Callable[[], object], least: float = LEAST) -> float:
    """Joules for one call of ``work``, over as many calls as fill ``least`` seconds. A counter that wraps more than
    once in that time would be read too low: RAPL's take minutes.
    """
    before = [one.read() for one in counters]
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < least:
        work()
        calls += 1
    used = [one.read() - then for one, then in zip(counters, before, strict=True)]
    used = [joules + (one.wrap or 0.0) if joules < 0 else joules for one, joules in zip(counters, used, strict=True)]
    return sum(used) / calls


def _rapl(powercap: Path) -> list[Counter] | str:
    """The processors' packages (Linux powercap: energy_uj and max_energy_range_uj are in microjoules)."""
    packages = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not packages:
        return "this machine shows no RAPL counter"
    try:
        counters = [
            Counter(
                name=(zone / "name").read_text().strip(),
                read=lambda zone=zone: int((zone / "energy_uj").read_text()) / 1e6,  # type: ignore[misc]
                wrap=int((zone / "max_energy_range_uj").read_text()) / 1e6,
            )
            for zone in packages
        ]
        for one in counters:
            one.read()
    except PermissionError:
        return "RAPL's counter may be read by root alone here"
    except (OSError, ValueError):
        return "RAPL's counter cannot be read"
    return counters


def _nvml(where: torch.device) -> list[Counter] | str:
    """The whole GPU (nvmlDeviceGetTotalEnergyConsumption is in millijoules; Volta and later)."""
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return "the package nvidia-ml-py, which reads the GPU's counter, is not installed"
    try:
        nvml.nvmlInit()
        uuid = f"GPU-{torch.cuda.get_device_properties(where).uuid}"
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        counter = Counter(name="GPU", read=lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3)
        counter.read()
    except nvml.NVMLError as error:
        return f"the GPU's counter cannot be read ({error})"
    return [counter]
