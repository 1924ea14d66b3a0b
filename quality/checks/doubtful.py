"""One ranked list of videos whose label is in doubt: what a model says, what was measured, and what was listed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.manifests import scan, storage, tables
from semblance.quality.checks import label_noise, linear, separability, video_features
from semblance.quality.checks.label_noise import EQUALS_FAKE, EQUALS_REAL, UNCHANGED, Judged
from semblance.quality.checks.linear import Told
from semblance.quality.checks.picture_features import Numbers, Region

FLAG: Final = "doubtful_label"
FILE: Final = "manifests/flags/doubtful-labels.parquet"
BY: Final = "quality flag"
LIMIT: Final = 0.5  # of the value: the label is more likely wrong than right
MOST: Final = 6000  # videos that the light model looks at, whole families by hash: at most 24,000 stored crops
# For the lower 95 % bound of a model's AUC. Of 600 videos with 12 wrong labels (tests/benchmarks/LABEL_NOISE.md) a
# model of AUC 0.79 has one or two of them among its first 12 doubts, one of 0.94 five, one of 0.98 ten.
USEFUL: Final = 0.7
SHARE: Final = 0.05  # of the judged videos: as many at most are doubted by a model alone
SHOWN: Final = 10
# How far one kind of evidence alone makes the other label likely: judgements, not measurements.
_EQUAL: Final = 0.9  # the pictures of a video with the other label
_UNCHANGED: Final = 0.5  # faint forgeries look the same after strong compression
_LISTED: Final = 0.5  # a list may be of something else than labels
_WORDS: Final[Mapping[int, str]] = {0: "real", 1: "fake"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Out-of-fold probabilities of fake by video id, whose they are, and how well they agree with the labels.

    ``scores`` is empty if the model says nothing: ``told`` has too few families, or its AUC may be below ``USEFUL``.
    """

    by: str
    told: Told
    scores: Mapping[str, float]
    left_out: int  # videos with a kept crop and a label, but without a score

    @property
    def words(self) -> str:
        """What became of the scores, in a sentence."""
        told = self.told
        if told.auc is None or told.low is None:
            what = f"too few families to test it ({told.families}, at least {separability.LEAST_FAMILIES} needed)"
            return f"{self.by}: {what}; no label is doubted by it"
        figure = f"AUC {told.auc:.2f}, 95 % {told.low:.2f}-{told.high:.2f}, in families it has not seen"
        rest = f"; {self.left_out:,} videos have no score" if self.left_out else ""
        if not self.scores:
            return f"{self.by}: {figure}: too weak to doubt a label by (at least {USEFUL} for the lower bound){rest}"
        return f"{self.by}: {figure}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One video whose label is in doubt: ``value`` from 0 to 1, and why in words, the strongest reason first."""

    video_id: str
    label: int
    value: float
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        return "; ".join(self.reasons)


def light(out: str, seed: int = 0) -> Scored:
    """Scores by a linear model of frequencies, noise and colours of the face, and of what surrounds it, out of fold by
    family. It sees up to four crops of at most ``MOST`` videos.
    """
    videos = scan(out, "videos").filter(pl.col("label").is_not_null() & (pl.col("crops_kept") > 0))
    every = videos.select("video_id", "label", "family_id").collect().sort("video_id")
    some = separability.bounded(every, seed, MOST)
    regions: tuple[Region, ...] = ("face", "outside")
    enough = some["family_id"].n_unique() >= separability.LEAST_FAMILIES
    seen = video_features.of_videos(out, some["video_id"].to_list(), regions, seed=seed).values if enough else {}
    rows = some.filter(pl.col("video_id").is_in(list(seen)))
    values = np.stack([beside(seen[name]) for name in rows["video_id"]]) if rows.height else np.zeros((0, 1))
    told = linear.told(values, rows["label"].cast(pl.Int64).to_numpy(), rows["family_id"].to_list(), seed)
    return scored("the light model", rows, told, every.height - rows.height)


def beside(seen: Mapping[Region, Numbers]) -> Numbers:
    """The statistics of a face, and how they differ from those around it, which cancels what the whole video has."""
    return np.concatenate([seen["face"], seen["face"] - seen["outside"]])


def scored(by: str, rows: pl.DataFrame, told: Told, left_out: int) -> Scored:
    """The scores of ``rows`` (video_id, label) as probabilities: a model may be too sure, or not sure enough."""
    useful = told.low is not None and told.low > USEFUL
    labels = rows["label"].cast(pl.Int64).to_numpy()
    scores = linear.calibrated(told.scores, labels) if useful else np.zeros(0)
    return Scored(
        by=by, told=told, scores=dict(zip(rows["video_id"], scores.tolist(), strict=False)), left_out=left_out
    )


def rank(
    labels: Mapping[str, int],
    scores: Mapping[str, float],
    rows: Sequence[Mapping[str, Any]] = (),
    peaks: Mapping[str, float] | None = None,
    limit: float = 3.0,
) -> list[Doubt]:
    """The videos in doubt, from the largest value: 1 - the product of 1 - each evidence, as if they were independent.

    ``labels`` and ``scores`` (probabilities of fake) are by video id; ``rows`` are rows of flags; ``peaks`` are medians
    of ``change_peak`` of fakes. A fake that was clearly changed is one: a model's doubt shrinks to ``limit`` / peak of
    it. A model alone puts no more than ``SHARE`` of the scored videos on the list.
    """
    against: dict[str, list[tuple[float, str]]] = {}
    for name, score in scores.items():
        label = labels[name]
        doubt = score if label == 0 else 1 - score
        peak = (peaks or {}).get(name, 0.0) if label == 1 else 0.0
        words = f"looks {_WORDS[1 - label]} ({doubt:.2f})"
        if peak > limit:
            words, doubt = f"{words}, but was changed (change_peak {peak:.1f})", doubt * limit / peak
        against.setdefault(name, []).append((doubt, words))
    hard: set[str] = set()
    for row in rows:
        if (name := row["video_id"]) in labels and row["flag"] != FLAG and row["sample_id"] is None:
            against.setdefault(name, []).append(_evidence(row))
            hard.add(name)
    found = [_doubt(name, labels[name], evidence) for name, evidence in against.items()]
    found = sorted((one for one in found if one.value >= LIMIT), key=lambda one: (-one.value, one.video_id))
    alone = [one.video_id for one in found if one.video_id not in hard]
    dropped = {*alone[int(np.ceil(SHARE * len(scores))) :]}
    return [one for one in found if one.video_id not in dropped]


def _doubt(name: str, label: int, evidence: list[tuple[float, str]]) -> Doubt:
    value = 1 - float(np.prod([1 - one for one, _ in evidence]))
    reasons = tuple(words for _, words in sorted(evidence, key=lambda one: -one[0]))
    return Doubt(video_id=name, label=label, value=round(value, 6), reasons=reasons)


def _evidence(row: Mapping[str, Any]) -> tuple[float, str]:
    match row["flag"]:
        case label_noise.EQUALS_REAL | label_noise.EQUALS_FAKE:
            what = "real video" if row["flag"] == EQUALS_REAL else "fake of another family"
            return _EQUAL, f"{row['value']:.0%} of its pictures are those of a {what}"
        case label_noise.UNCHANGED:
            return _UNCHANGED, f"no altered face (change_peak {row['value']:.1f})"
    return _LISTED, f"listed as {row['flag']} by {row['by']}"


def of_build(out: str, judged: Judged, scored_videos: Scored) -> list[Doubt]:
    """The ranked list of the build ``out``, with the flags of third parties' lists."""
    videos = scan(out, "videos").filter(pl.col("label").is_not_null()).select("video_id", "label").collect()
    own = (FLAG, EQUALS_REAL, EQUALS_FAKE, UNCHANGED)
    listed = scan(out, "flags").filter(~pl.col("flag").is_in(own)).collect().to_dicts()
    kept = scan(out, flags=False).filter((pl.col("verdict") == "keep") & (pl.col("label") == 1))
    medians = kept.group_by("video_id", "person").agg(pl.col("change_peak").median()).group_by("video_id")
    peaks = medians.agg(pl.col("change_peak").max()).drop_nulls().collect(engine="streaming")
    return rank(
        dict(videos.iter_rows()),
        scored_videos.scores,
        [*judged.rows, *listed],
        dict(peaks.iter_rows()),
        label_noise.peak_limit(out),
    )


def write(out: str, found: Sequence[Doubt]) -> None:
    """Replace the flags of an earlier run; the file has no rows if no label is in doubt."""
    rows = [
        {"sample_id": None, "video_id": one.video_id, "flag": FLAG, "value": one.value, "limit": LIMIT, "by": BY}
        | {"reason": one.why}
        for one in found
    ]
    tables.write_rows(storage.join(out, FILE), rows, "flags")


def lines(found: Sequence[Doubt], scored_videos: Scored) -> Iterator[str]:
    """What the model is worth, and the top of the list."""
    yield scored_videos.words
    yield f"{FLAG}: {len(found):,} video{'' if len(found) == 1 else 's'}, the most doubtful first"
    for place, one in enumerate(found[:SHOWN], 1):
        yield f"{place:3}. {one.value:.2f} {one.video_id}, labelled {_WORDS[one.label]}: {one.why}"
