"""dlib's face recognition network (King 2017): 128 numbers from a chip of 150 px."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.errors import SemblanceError
from semblance.quality.people.embedders.alignment import TEMPLATES, Alignment
from semblance.quality.people.embedders.door import Distances, Embedder, Floats, described

SIDE: Final = 150
_FILE: Final = "dlib_face_recognition_resnet_model_v1.dat"  # the only file of its package that may be used here
_PACKAGE: Final = "face_recognition_models"
_LICENCE: Final = "CC0 1.0"
_INSTALL: Final = "install them with `pip install 'semblance[people]'`"
# Measured on means of five crops, centred: 13 people of the sample collections are at most 0.16 from themselves and at
# least 0.36 from strangers. dlib's own limit of 0.6 (Euclidean) is for pairs and joins strangers here.
DISTANCES: Final = Distances(linkage=0.3, attach=0.3, quarantine=0.4, raw=0.03)


def load(file: Path | None) -> Embedder:
    """dlib with the network in ``file``, or with that of the installed package face_recognition_models (None).

    Raises SemblanceError if dlib or the file is missing, or if the file is not this network.
    """
    try:
        import dlib
    except ImportError as error:
        raise SemblanceError(f"dlib and its weights are not installed; {_INSTALL}.") from error
    file = file or _installed()
    try:
        net = dlib.face_recognition_model_v1(str(file))
    except RuntimeError as error:
        reason = " ".join(str(error).split()) or "no reason given"
        raise SemblanceError(
            f"{file} is not dlib's face recognition network ({reason}); give {_FILE}, or `dlib` for the installed one."
        ) from error
    return Embedder(
        name="dlib",
        weights=described(file, _LICENCE),
        alignment=Alignment(side=SIDE, points=TEMPLATES["dlib"], name="dlib 150"),
        distances=DISTANCES,
        embed=lambda chips_BHWC: _embed(net, chips_BHWC),
    )


def _embed(net: Any, chips_BHWC: NDArray[np.uint8]) -> Floats:
    found = net.compute_face_descriptor([np.ascontiguousarray(chip) for chip in chips_BHWC])
    return np.array([np.array(vector) for vector in found], np.float32)


def _installed() -> Path:
    """The file in the package, which is not imported: it needs the removed pkg_resources."""
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise SemblanceError(f"dlib's weights are not installed; {_INSTALL}.") from error
    for one in files:
        if one.name == _FILE and (path := Path(str(one.locate()))).is_file():
            return path
    raise SemblanceError(f"The installed package {_PACKAGE} has no {_FILE}; {_INSTALL}.")
