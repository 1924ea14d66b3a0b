"""The runs that a command means: folders, or patterns of folders."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path

from semblance.manifests.errors import UsageError
from semblance.training.inference.predictor import ENSEMBLE
from semblance.training.runs.folder import RunDir


def matching(patterns: Sequence[str]) -> list[str]:
    """Every folder named, and the trained runs and ensembles that match each pattern (``*``, ``?``, ``[...]``).

    Matches are in natural order: seed2 before seed10. A folder that is named and matched counts once. A folder that
    exists is never taken for a pattern. Raises UsageError if a pattern matches no run.
    """
    found: list[str] = []
    for pattern in patterns:
        if not glob.has_magic(pattern) or Path(pattern).exists():
            found.append(pattern)
            continue
        matched = [path for path in glob.glob(pattern) if trained(Path(path))]
        if not matched:
            raise UsageError(f"No trained run matches {pattern}; look at the folder with `ls`.")
        found += sorted(matched, key=_natural)
    known: dict[Path, str] = {}
    for path in found:
        known.setdefault(Path(path).resolve(), path)
    patterned = any(glob.has_magic(pattern) for pattern in patterns)
    return list(known.values()) if patterned else found


def trained(folder: Path) -> bool:
    """Whether the folder holds a run with a checkpoint, or an ensemble."""
    return RunDir(folder).best.exists() or (folder / ENSEMBLE).exists()


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path)]
