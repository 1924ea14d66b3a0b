"""One door to every network that turns a face into a vector: what ``--weights`` names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.people.embedders.alignment import Alignment

Floats = NDArray[np.float32]
Embed = Callable[[NDArray[np.uint8]], Floats]  # chips (B, side, side, 3) RGB to vectors (B, D)
FACENET: Final = ("facenet:vggface2", "facenet:casia-webface")
CHOICES: Final = "`dlib`, " + ", ".join(f"`{name}`" for name in FACENET) + ", or a file (.dat, .pt, .onnx, .xml)"
_TORCH: Final = (".pt", ".pth")
_NETWORK: Final = (".onnx", ".xml", ".tflite")


class Distances(Config):
    """Cosine distances (0 to 2) between mean vectors that count as one person.

    ``linkage``: two clusters are joined, by their mean distance. ``attach``: a small cluster joins the nearest large
    one. ``quarantine``: a clip is too near to another person. ``raw``: in place of all three where vectors are not
    centred, because there are few people.
    """

    linkage: float = Field(gt=0, lt=2)
    attach: float = Field(gt=0, lt=2)
    quarantine: float = Field(gt=0, lt=2)
    raw: float = Field(gt=0, lt=2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedder:
    """A network, how faces are aligned for it, and the distances that its author or we measured."""

    name: str
    weights: Mapping[str, str]  # file, sha256, licence
    alignment: Alignment
    distances: Distances | None
    embed: Embed


def load(weights: str, network: str | None = None) -> Embedder:
    """The embedder that ``weights`` names; ``network`` describes the faces of an ONNX or OpenVINO file.

    Raises UsageError for a name that is neither known nor a file, SemblanceError for a file or package that cannot be
    used. Only ``facenet:...`` downloads, by facenet-pytorch's own loader.
    """
    suffix = Path(weights).suffix.lower()
    if suffix in _NETWORK:
        from semblance.quality.people.embedders import network as family

        return family.load(existing(weights), network)
    if network is not None:
        raise UsageError(f"--network describes an ONNX or OpenVINO file; {weights} has its own alignment.")
    if weights == "dlib" or suffix == ".dat":
        from semblance.quality.people.embedders import dlib

        return dlib.load(None if weights == "dlib" else existing(weights))
    if weights in FACENET or suffix in _TORCH:
        from semblance.quality.people.embedders import facenet

        return facenet.load(weights.partition(":")[2] if weights in FACENET else existing(weights))
    raise UsageError(f"Unknown weights {weights!r}; choose {CHOICES}.")


def existing(name: str) -> Path:
    """The local file ``name``; raises SemblanceError if there is none."""
    if not Path(name).is_file():
        raise SemblanceError(f"The weights {name} do not exist; give a local file, or one of {CHOICES}.")
    return Path(name)


def described(file: Path, licence: str) -> dict[str, str]:
    """What is recorded of a file of weights: its name without folder, SHA-256, licence."""
    with file.open("rb") as data:
        return {"file": file.name, "sha256": hashlib.file_digest(data, "sha256").hexdigest(), "licence": licence}
