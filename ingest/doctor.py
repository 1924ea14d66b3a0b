"""Checks of this machine before a build: packages, decoders, weights, memory, disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from typing import Final

import psutil

from semblance.ingest.detector.door import weights
from semblance.ingest.run.describe import versions
from semblance.manifests.errors import SemblanceError
from semblance.quality import video

_NEEDED_FREE_GIB: Final = 5.0
_CV2: Final = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor: ``good`` is False if something must be fixed, and ``remedy`` says how."""

    what: str
    value: str
    good: bool = True
    remedy: str = ""


def examine(folder: str = ".") -> list[Check]:
    """All checks before a build into ``folder``."""
    checks = [Check(what=name, value=version, good=version != "absent") for name, version in versions().items()]
    checks += [_decoders(), _cv2_packages(), _weights(), _cuda()]
    memory = psutil.virtual_memory()
    free = shutil.disk_usage(folder).free / 2**30
    checks.append(Check(what="cores", value=str(len(os.sched_getaffinity(0)))))
    checks.append(
        Check(
            what="memory",
            value=f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
            good=memory.available > 2 * 2**30,
            remedy="a worker needs about 2 GiB: lower --workers",
        )
    )
    checks.append(
        Check(
            what="disk",
            value=f"{free:.1f} GiB free here",
            good=free > _NEEDED_FREE_GIB,
            remedy=f"free some space: a build needs at least {_NEEDED_FREE_GIB:g} GiB",
        )
    )
    checks.append(Check(what="platform", value=platform.platform()))
    return checks


def _decoders() -> Check:
    installed = video.available()
    return Check(
        what="decoders",
        value=", ".join(installed) + f" (default {video.DEFAULT_DECODER})",
        good=len(installed) == 2,
        remedy="install the missing decoder: it is the fallback for files that the other cannot read",
    )


def _cv2_packages() -> Check:
    installed = [name for name in _CV2 if _installed(name)]
    return Check(
        what="OpenCV packages",
        value=", ".join(installed) or "none",
        good=len(installed) == 1,
        remedy="OpenCV wheels overwrite each other's files: uninstall all, then install opencv-python-headless",
    )


def _weights() -> Check:
    try:
        short = ", ".join(f"{name} {value[:8]}" for name, value in weights().items())
    except (SemblanceError, OSError) as error:
        return Check(what="MTCNN weights", value=str(error), good=False, remedy="reinstall facenet-pytorch")
    return Check(what="MTCNN weights", value=short)


def _cuda() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(what="CUDA", value="torch is not installed", good=False, remedy="reinstall semblance")
    import torch  # takes seconds to load

    gpu = torch.cuda.is_available()
    return Check(what="CUDA", value=torch.cuda.get_device_name() if gpu else "no GPU (detection runs on the CPU)")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
