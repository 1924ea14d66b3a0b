"""Pictures with a run's own logits, in its package: any machine can tell whether the package answers as the run did.

The pictures are made by a formula, so no person is in them. B: pictures, S: their side in px, U: clips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from semblance.manifests.records import Image
from semblance.quality.resize import to_square
from semblance.training.export.graph import plain_logit
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor

FILE: Final = "reference.safetensors"
TOLERANCE: Final = 1e-4  # of a logit, or of its size if that is above 1
_PICTURES, _LOGITS = "pictures", "logits"
_COUNT, _SIDE = 8, 96


def pictures() -> list[Image]:
    """Waves of several directions and colours, with noise of growing strength: each (S, S, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / _SIDE
    made = []
    for number in range(_COUNT):
        waves = [0.5 + 0.4 * np.sin(2 * np.pi * (a * x + b * y + c)) for a, b, c in rng.uniform(0, 6, (3, 3))]
        noise = rng.normal(0, 0.03 * number, (_SIDE, _SIDE, 3))
        made.append(np.asarray(np.clip((np.stack(waves, -1) + noise) * 255, 0, 255), np.uint8))
    return made


def write(predictor: Predictor, file: Path) -> None:
    """The pictures and each member's logits of them, in float32 on the CPU."""
    images = pictures()
    found: dict[str, Any] = {f"{_LOGITS}.{place}": _logits(one, images) for place, one in enumerate(predictor.members)}
    save_file(found | {_PICTURES: torch.from_numpy(np.stack(images))}, file)


def difference(predictor: Predictor, file: Path) -> float:
    """The largest difference of a member's logit from the file's, in parts of the logit if that is above 1."""
    kept = load_file(file)
    images = list(kept[_PICTURES].numpy())
    off = 0.0
    for place, member in enumerate(predictor.members):
        wanted = kept[f"{_LOGITS}.{place}"]
        away = (_logits(member, images) - wanted).abs() / wanted.abs().clamp(min=1)
        off = max(off, float(away.nan_to_num(nan=float("inf")).max()))
    return off


def _logits(member: Member, images: list[Image]) -> torch.Tensor:
    """(B,) or, of a clip model over repeated pictures, (U,): float64."""
    bytes_BCSS = np.stack([to_square(image, member.size).transpose(2, 0, 1) for image in images])
    if member.clip > 1:
        bytes_BCSS = np.resize(bytes_BCSS, (2, member.clip, *bytes_BCSS.shape[1:]))
    asked = torch.from_numpy(bytes_BCSS)
    logit_B = plain_logit(member, asked)
    if member.mirror:
        logit_B = (logit_B + plain_logit(member, asked.flip(-1))) / 2
    return logit_B.double()
