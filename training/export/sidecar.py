"""The description beside an exported file: everything that has to be done around the network."""

from __future__ import annotations

from typing import Any, Final

import torch

from semblance.manifests.config import fingerprint
from semblance.training.evaluation.results import Level
from semblance.training.evaluation.thresholds import Chosen
from semblance.training.export import graph
from semblance.training.export.registry import Format
from semblance.training.inference.member import Member
from semblance.training.inference.predictor import Predictor
from semblance.training.models.base import Normalise
from semblance.training.runs import folder

_LEVELS: Final[tuple[Level, ...]] = ("frame", "video")


def describe(predictor: Predictor, name: str, kind: Format, thresholds: Chosen | None = None) -> dict[str, Any]:
    """What the file holds, what goes in, what comes out, and what becomes of that. ``thresholds``: val's."""
    whole = kind.answers == "score"
    return {
        "format": name,
        "run": predictor.name,
        "members": [
            _member(member, weight) for member, weight in zip(predictor.members, predictor.weights, strict=True)
        ],
        "input": _score_input(predictor) if whole else _weights_input(predictor.members[0]),
        "output": _output(predictor) if whole else {"logit": "(batch, 1): log odds of fake, not calibrated"},
        "faces": {
            "resize": "to a square of that side: area averaging if it shrinks, else cubic, as OpenCV does them",
            "recipe": next((record["recipe"] for record in predictor.datasets if record.get("recipe")), None),
        },
        "video": "mean logit of each person's pictures, then the maximum over persons, then the sigmoid of that "
        "divided by the temperature of videos",
        "temperature": {"frame": predictor.frame_temperature, "video": predictor.video_temperature},
        "calibrated": predictor.calibrated,
        "threshold": {level: thresholds.limits[level] if thresholds else 0.0 for level in _LEVELS},
        "threshold_from": f"{thresholds.source}, by balanced accuracy of the logit"
        if thresholds
        else "probability 0.5",
        "versions": folder.versions(),
    }


def _member(member: Member, weight: float) -> dict[str, Any]:
    recipe = member.trained.recipe
    return {
        "name": member.name,
        "weight": weight,
        "mirror": member.mirror,
        "sha256": member.sha256,
        "epoch": member.trained.epoch + 1,
        "recipe": recipe.name,
        "recipe_fingerprint": fingerprint(recipe.model_dump(mode="json")),
        "model": recipe.model.model_dump(mode="json"),
        "licence_of_base": member.trained.model.licence,
    }


def _score_input(predictor: Predictor) -> dict[str, Any]:
    return {
        name: {
            "shape": ["batch", *graph.shape(predictor, size)],
            "type": "uint8",
            "range": [0, 255],
            "colours": "RGB",
            "normalisation": "inside the file",
            **_clips(predictor),
        }
        for name, size in graph.inputs(predictor).items()
    }


def _clips(predictor: Predictor) -> dict[str, str]:
    if (length := graph.clip(predictor)) == 1:
        return {}
    return {
        "clips": f"{length} faces of one person in time order. Clips follow each other, the last one ends at the last "
        f"face, and of n faces, fewer than {length}, one clip has face floor(i n / {length}) at place i. The logit of "
        "a picture is the mean logit of the clips that hold it."
    }


def _weights_input(member: Member) -> dict[str, Any]:
    normalise = next((part for part in member.trained.model.modules() if isinstance(part, Normalise)), None)
    mean, std = (_numbers(normalise.mean_C11), _numbers(normalise.std_C11)) if normalise else (None, None)
    return {
        "image": {
            "shape": ["batch", 3, member.size, member.size],
            "type": "float32",
            "range": [0, 1],
            "colours": "RGB",
            "normalisation": {"mean": mean, "std": std} if normalise else "inside the model",
        }
    }


def _output(predictor: Predictor) -> dict[str, Any]:
    return {
        "logit": "(batch,): log odds of fake before calibration, weighted over the members",
        "probability": f"(batch,): of fake, for a picture: sigmoid(logit / {predictor.frame_temperature:g})",
    }


def _numbers(value: torch.Tensor) -> list[float]:
    return [round(float(one), 6) for one in value.flatten()]
