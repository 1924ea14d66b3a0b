"""What this machine has and lacks for a build."""

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
    """One line of the doctor: ``good`` is False where something must be mended."""

    what: str
    value: str
    good: bool = True
    remedy: str = ""


def examine(folder: str = ".") -> list[Check]:
    """Everything worth knowing before a build into ``folder``."""
    found = [Check(what=name, value=version, good=version != "absent") for name, version in versions().items()]
    found += [_decoders(), _cv2_packages(), _weights(), _cuda()]
    memory = psutil.virtual_memory()
    free = shutil.disk_usage(folder).free / 2**30
    found.append(Check(what="cores", value=str(len(os.sched_getaffinity(0)))))
    found.append(
        Check(
            what="memory",
            value=f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
            good=memory.available > 2 * 2**30,
            remedy="a worker needs about 2 GiB: run fewer with --workers",
        )
    )
    found.append(
        Check(
            what="disk",
            value=f"{free:.1f} GiB free here",
            good=free > _NEEDED_FREE_GIB,
            remedy=f"less than {_NEEDED_FREE_GIB:g} GiB is little for a build",
        )
    )
    found.append(Check(what="platform", value=platform.platform()))
    return found


def _decoders() -> Check:
    there = video.available()
    return Check(
        what="decoders",
        value=", ".join(there) + f" (default {video.DEFAULT_DECODER})",
        good=len(there) == 2,
        remedy="with one decoder alone, a file that it cannot read gets no second try",
    )


def _cv2_packages() -> Check:
    there = [name for name in _CV2 if _installed(name)]
    return Check(
        what="OpenCV packages",
        value=", ".join(there) or "none",
        good=len(there) == 1,
        remedy="several OpenCV wheels overwrite each other's files: uninstall all, then install opencv-python-headless",
    )


def _weights() -> Check:
    try:
        short = ", ".join(f"{name} {value[:8]}" for name, value in weights().items())
    except (SemblanceError, OSError) as error:
        return Check(what="MTCNN weights", value=str(error), good=False, remedy="reinstall facenet-pytorch")
    return Check(what="MTCNN weights", value=short)


def _cuda() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check(what="CUDA", value="torch is not installed", good=False, remedy="install semblance again")
    import torch  # seconds to load: only here

    there = torch.cuda.is_available()
    return Check(what="CUDA", value=torch.cuda.get_device_name() if there else "no GPU (detection runs on the CPU)")


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
