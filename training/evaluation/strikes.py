"""What attacks come to: how often they succeed, robust balanced accuracy, and whether gradients are masked.

N: rows (pictures or videos), D: draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from semblance.quality.statistics import bootstrap
from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.attacks import ATTACKS
from semblance.training.data.query import Selection
from semblance.training.evaluation import networks, predictions, results
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.inference.predictor import Predictor
from semblance.training.metrics import classification
from semblance.training.metrics.classification import Floats

# ``logit`` and ``rounded`` (the picture in 8 bits): less val's threshold by frame, so that fake is at or above 0.
# ``model`` answered; the attack was made on ``source``. Without an attack: the clean picture. ``distance``: L2.
ANSWERS: Final[Mapping[str, Any]] = MappingProxyType(
    {"sample_id": pl.String, "model": pl.String, "source": pl.String, "attack": pl.String, "strength": pl.Float64}
    | {"logit": pl.Float64, "rounded": pl.Float64, "distance": pl.Float64}
)
MIXED: Final = "aa-binary"  # follows gradients and asks for scores

Level = Literal["frame", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """An attack on a run, by frame or by video, at val's threshold.

    ``strength``: the largest change of a value; None: any, the nearest picture is looked for. ``right``: of the
    ``reals`` and ``fakes``, what is judged rightly without an attack; ``success``: the share of that which the attack
    turns. ``clean``, ``robust``, ``rounded``: balanced accuracy without it, under it, and where its pictures are
    rounded to 8 bits. ``distance``: the median L2 length of the changes that succeeded by frame, else None.
    """

    model: str
    attack: str
    strength: float | None
    level: Level
    reals: int
    fakes: int
    right: int
    success: Estimate
    clean: Estimate
    robust: Estimate
    rounded: Estimate
    distance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transferred:
    """An attack that was made on another run, ``source``: a black-box attack. ``success``: of ``right``, by frame."""

    model: str
    source: str
    attack: str
    strength: float
    right: int
    success: float


def measure(
    result: Evaluation,
    able: Mapping[str, Predictor],
    chosen: Selection,
    videos: pl.DataFrame,
    answers: pl.DataFrame,
) -> list[Strike]:
    """Every attack on every run. ``answers``: as ``ANSWERS`` says."""
    listed = videos.filter(pl.col("video_id").is_in(chosen.pictures["video_id"].implode()))
    found = []
    for name, predictor in able.items():
        own = answers.filter((pl.col("model") == name) & (pl.col("source") == name))
        threshold = result.thresholds[name]["frame"]
        own = own.with_columns(pl.col("logit") + threshold, pl.col("rounded") + threshold)
        clean = own.filter(pl.col("attack").is_null()).select("sample_id", clean="logit")
        known = networks.judged(result, name, chosen).drop("logit", "score")
        pictures = known.join(clean, on="sample_id", validate="1:1", maintain_order="left")
        struck = own.filter(pl.col("attack").is_not_null()).partition_by(
            "attack", "strength", as_dict=True, maintain_order=True
        )
        for (attack, strength), rows in struck.items():
            under = rows.select("sample_id", "logit", "rounded", "distance")
            joined = pictures.join(under, on="sample_id", validate="1:1", maintain_order="left")
            for level, table, label in (
                ("frame", joined.filter(pl.col("face_label").is_not_null()), "face_label"),
                ("video", _of_videos(listed, joined, predictor), "label"),
            ):
                if not table.is_empty():
                    found.append(_strike(result, name, str(attack), strength, level, table, label))  # type: ignore[arg-type]
    return found


def _of_videos(listed: pl.DataFrame, pictures: pl.DataFrame, predictor: Predictor) -> pl.DataFrame:
    """Videos with each logit. Who attacks a fake video leaves its real faces alone: to change them gains nothing."""
    untouched = (pl.col("face_label") == 0) & (pl.col("label") == 1)
    table = listed
    for name in ("clean", "logit", "rounded"):
        logit = pl.when(untouched.fill_null(False)).then(pl.col("clean")).otherwise(pl.col(name))
        scored = predictions.of_videos(listed, pictures.with_columns(logit=logit), predictor)
        table = table.with_columns(scored["logit"].alias(name))
    return table


def _strike(
    result: Evaluation, model: str, attack: str, strength: Any, level: Level, table: pl.DataFrame, label: str
) -> Strike:
    label_N = table[label].to_numpy().astype(np.int64)
    threshold = result.thresholds[model][level]
    right = {name: (table[name].to_numpy() >= threshold) == (label_N == 1) for name in ("clean", "logit", "rounded")}

    def figures(weight_DN: Floats | None) -> dict[str, Floats]:
        weight_DN = np.ones((1, len(label_N))) if weight_DN is None else weight_DN
        found = {name: classification.balanced(right_N, label_N, weight_DN) for name, right_N in right.items()}
        with np.errstate(invalid="ignore", divide="ignore"):
            turned_D = weight_DN @ (right["clean"] & ~right["logit"]) / (weight_DN @ right["clean"])
        return found | {"success": turned_D}

    groups = predictions.groups(table)
    draws = result.options.draws if results.enough(table[label], groups) else 0
    estimates = bootstrap.estimate(figures, groups.to_numpy(), draws=draws, seed=result.options.seed)
    turned_N = right["clean"] & ~right["logit"]
    return Strike(
        model=model,
        attack=attack,
        strength=strength,
        level=level,
        reals=int((label_N == 0).sum()),
        fakes=int((label_N == 1).sum()),
        right=int(right["clean"].sum()),
        success=estimates["success"],
        clean=estimates["clean"],
        robust=estimates["logit"],
        rounded=estimates["rounded"],
        distance=float(np.median(table["distance"].to_numpy()[turned_N]))
        if level == "frame" and turned_N.any()
        else None,
    )


def transferred(able: Mapping[str, Predictor], chosen: Selection, answers: pl.DataFrame) -> list[Transferred]:
    """What attacks on each run do to the others that take pictures of the same size and share no checkpoint with it."""
    known = chosen.pictures.filter(pl.col("face_label").is_not_null())
    labels = known.select("sample_id", label=pl.col("face_label").cast(pl.Int64))
    found = []
    for name in able:
        rows = labels.join(answers.filter(pl.col("model") == name), on="sample_id", how="inner", maintain_order="right")
        right = (pl.col("logit") >= 0) == (pl.col("label") == 1)
        clean = rows.filter(pl.col("attack").is_null() & right)["sample_id"]
        others = rows.filter((pl.col("source") != name) & pl.col("sample_id").is_in(clean.implode()))
        for key, part in others.partition_by("source", "attack", "strength", as_dict=True, maintain_order=True).items():
            source, attack, strength = key
            found.append(
                Transferred(
                    model=name,
                    source=str(source),
                    attack=str(attack),
                    strength=float(strength),
                    right=part.height,
                    success=1 - float(part.select(right.mean()).item()),
                )
            )
    return found


def masked(found: Sequence[Strike], others: Sequence[Transferred]) -> list[str]:
    """Where an attack without a run's gradients succeeds more often than the best one with them, in sentences.

    Gradients that lead nowhere make a run look robust (Athalye et al. 2018).
    """
    return list(_masked([one for one in found if one.level == "frame"], others))


def _masked(found: Sequence[Strike], others: Sequence[Transferred]) -> Iterator[str]:
    for model, strength in dict.fromkeys((one.model, one.strength) for one in found if one.strength is not None):
        here = [one for one in found if (one.model, one.strength) == (model, strength)]
        by_class = {name: ATTACKS.find(name).black_box for name in {one.attack for one in here} - {MIXED}}
        black = [(one.success.value, one.attack) for one in here if by_class.get(one.attack) is True]
        white = [(one.success.value, one.attack) for one in here if by_class.get(one.attack) is False]
        black += [
            (one.success, f"{one.attack} on {one.source}")
            for one in others
            if (one.model, one.strength) == (model, strength)
        ]
        if not white or not black:
            continue
        (best, by), (blind, without) = (max((value or 0.0, name) for value, name in part) for part in (white, black))
        if blind > best:
            yield (
                f"{model} at {shown(strength)}: {without}, which does not know its gradients, turns "
                f"{100 * blind:.1f} % of what was right, and {by}, which does, {100 * best:.1f} %. So its gradients "
                "are masked, and its robust accuracy is too good; judge it by the stronger attack, or add aa-binary."
            )


def shown(strength: float | None) -> str:
    """A strength as people write it."""
    if strength is None:
        return "any"
    levels = strength * 255
    return f"{round(levels)}/255" if math.isclose(levels, round(levels), abs_tol=1e-6) else f"{strength:g}"
