"""The registry of export formats: how a run is written in each, and how its file is asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from semblance.manifests.errors import UsageError
from semblance.manifests.registry import Registry
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics.classification import Floats

Pictures = Mapping[int, Any]  # by side: the same pictures, uint8 (B, 3, side, side) RGB
Ask = Callable[[Pictures], Floats]  # (B,) logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of file.

    ``write`` makes it of a predictor whose members are on the CPU; files beside it have its stem. ``read`` opens it
    with the software that it is meant for, without any of this package's models where that is possible. ``answers``:
    the whole ``score`` of the run, with mirror images, weights and temperature, or the ``weights`` of one model, whose
    logit for the picture alone then is the answer.
    """

    suffix: str
    write: Callable[[Predictor, Path], None]
    read: Callable[[Path, Predictor], Ask]
    answers: Literal["score", "weights"]
    stem: str = "model"  # of the file's usual name


FORMATS: Final[Registry[Format]] = Registry("format", "--format")


def register(name: str, format: Format) -> None:  # noqa: A002  # the word for it
    """Add a format; raises ValueError if its name is taken."""
    FORMATS.add(name, format)


def only_member(predictor: Predictor, name: str) -> Member:
    """The member of a single run. Raises UsageError for an ensemble or a clip model, which no such file can hold."""
    if len(predictor.members) > 1 or predictor.calibrated:
        raise UsageError(
            f"{predictor.path} is an ensemble, but {name} holds the weights of one model; export its member runs, or "
            "the ensemble as onnx, openvino or torchscript."
        )
    member = predictor.members[0]
    if member.clip > 1:
        raise UsageError(
            f"{predictor.path} scores clips with two networks, but {name} holds the weights of one; export it as onnx, "
            "openvino or torchscript."
        )
    return member
