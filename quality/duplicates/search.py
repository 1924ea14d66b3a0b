"""Near-duplicate videos in one build or several: found by hash, confirmed on pixels, with the false-match rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from semblance.quality.builds import Audited, sample_rows
from semblance.quality.duplicates.bit_bands import Flags, Hashes, Numbers
from semblance.quality.duplicates.equal_pictures import equal_pictures
from semblance.quality.duplicates.pixel_match import Pictures, agreeing
from semblance.quality.duplicates.sequences import DuplicateConfig, Duplicates, chain, different_people, find

Seen = Literal["frame", "crop"]  # what was hashed
SURE = pl.col("target_id").is_not_null() & ((pl.col("label") == 0) | pl.col("donor_id").is_not_null())  # all are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The result of a search.

    ``pairs`` holds those of two families that match by hash: a, b (numbers of videos), matched, sampled,
    seen (``frame`` or ``crop``), agreed (frames confirmed, null if not compared), likeness (their
    median), confirmed, stored (whether both have enough crops to compare) and strangers (whether they are known to
    show different people). ``same_family`` pairs of one family were found, as expected. ``different`` pairs of videos
    are known to show different people; ``false_by_hash`` and ``false_confirmed`` of them matched.
    """

    pairs: pl.DataFrame
    same_family: int
    videos: dict[Seen, int]  # compared
    searched: Flags  # of every video: whether it has hashed frames enough to be compared
    bare: int  # videos without any hashed face: not searched
    rejected: int  # videos searched by the hashes of rejected faces
    short: int  # videos with fewer hashed frames than a match needs
    flat: int
    common: int
    thinned: int
    different: int
    false_by_hash: int
    false_confirmed: int
    unreadable: int

    @property
    def unseen(self) -> int:
        """Pairs that match by hash and could have been compared on pixels, but were not."""
        return self.pairs.filter(pl.col("confirmed").is_null() & pl.col("stored")).height


def near(
    builds: Sequence[Audited], numbered: pl.DataFrame, hashed: pl.DataFrame, config: DuplicateConfig, most: int
) -> Near:
    """Find near-duplicates among all videos and confirm at most ``most`` pairs of two families on pixels.

    Frames are compared by ``frame_phash``; where a video has none (it came as faces), it is compared with all
    others by the crops' hashes. Pairs across splits or builds are confirmed first.
    """
    families = numbered["family"].to_numpy()
    parts, found = [], {}
    with_frames = hashed.filter(pl.col("frame_phash").is_not_null())
    of_frames = np.zeros(numbered.height, np.bool_)
    of_frames[with_frames["number"].unique().to_numpy()] = True
    frames = with_frames.unique(["number", "frame_index"], keep="first").sort("number", "frame_index")
    found["frame"] = _found(frames, "frame_phash", families, config)
    parts.append(found["frame"].pairs.with_columns(seen=pl.lit("frame")))
    crops = hashed.filter(pl.col("phash").is_not_null())
    if not of_frames[crops["number"].unique().to_numpy()].all():
        found["crop"] = _found(crops, "phash", families, config)
        pairs = found["crop"].pairs
        lacking = ~(of_frames[pairs["a"].to_numpy()] & of_frames[pairs["b"].to_numpy()])
        parts.append(pairs.filter(lacking).with_columns(seen=pl.lit("crop")))
    every = _with_equal(pl.concat(parts), equal_pictures(hashed, numbered), of_frames)
    pictures = Pictures([build.name for build in builds])
    others = every.filter(~pl.col("family")).drop("family")
    others = others.with_columns(
        stored=_stored(others, hashed, numbered.height, config), strangers=known_strangers(others, numbered)
    )
    pairs = _confirmed(first_across(others, numbered), builds, numbered, config, most, pictures)
    named = numbered.filter(SURE)
    compared = named.filter(pl.col("number").is_in(hashed["number"].unique().implode()))
    false = pairs.filter("strangers")
    hashed_videos = hashed["number"].n_unique()
    searched = _long_enough(found["frame"], config)
    if "crop" in found:
        searched |= ~of_frames & _long_enough(found["crop"], config)
    return Near(
        pairs=pairs,
        same_family=int(every["family"].sum()),
        videos={seen: one.compared for seen, one in found.items()},  # type: ignore[misc]
        searched=searched,
        bare=numbered.height - hashed_videos,
        rejected=hashed.filter(~pl.col("stored"))["number"].n_unique(),
        short=hashed_videos - int(searched.sum()),
        flat=sum(one.flat for one in found.values()),
        common=sum(one.common for one in found.values()),
        thinned=max(one.thinned for one in found.values()),
        different=different_people(compared),
        false_by_hash=false.height,
        false_confirmed=int(false["confirmed"].sum() or 0),
        unreadable=pictures.unreadable,
    )


def _with_equal(pairs: pl.DataFrame, equal: pl.DataFrame, of_frames: Flags) -> pl.DataFrame:
    """``pairs`` plus pairs with equal pictures that are too short for a sequence."""
    both = of_frames[equal["a"].to_numpy()] & of_frames[equal["b"].to_numpy()]
    seen = pl.when(pl.Series(both, dtype=pl.Boolean)).then(pl.lit("frame")).otherwise(pl.lit("crop"))
    more = equal.join(pairs, on=["a", "b"], how="anti", maintain_order="left")
    marked = equal.with_columns(family=pl.lit(value=False), seen=seen).join(more.select("a", "b"), on=["a", "b"])
    return pl.concat([pairs, marked.select(pairs.columns)])


def _stored(pairs: pl.DataFrame, hashed: pl.DataFrame, videos: int, config: DuplicateConfig) -> pl.Series:
    """Which pairs have stored crops of enough frames on both ends to be compared on pixels."""
    stored = hashed.filter("stored").group_by("number").agg(frames=pl.col("frame_index").n_unique())
    frames = np.zeros(videos, np.int64)
    frames[stored["number"].to_numpy()] = stored["frames"].to_numpy()
    needed = np.minimum(pairs["matched"].to_numpy(), config.least_frames)
    fewest = np.minimum(frames[pairs["a"].to_numpy()], frames[pairs["b"].to_numpy()])
    return pl.Series(fewest >= needed, dtype=pl.Boolean)


def _found(rows: pl.DataFrame, column: str, families: Numbers, config: DuplicateConfig) -> Duplicates:
    return find(rows["number"].to_numpy().astype(np.int64), rows[column].to_numpy(), families, config)


def _long_enough(found: Duplicates, config: DuplicateConfig) -> Flags:
    """Which videos have as many hashed frames as a match needs; flat and common frames do not count."""
    enough: Flags = np.diff(found.sequences.starts) >= config.least_frames
    return enough


def first_across(pairs: pl.DataFrame, numbered: pl.DataFrame) -> pl.DataFrame:
    """The pairs by priority: across builds or splits first, the most certain of them first."""
    splits = numbered["split"].fill_null("unassigned").to_numpy()
    builds = numbered["build"].to_numpy()
    a, b = pairs["a"].to_numpy(), pairs["b"].to_numpy()
    across = (splits[a] != splits[b]) | (builds[a] != builds[b])
    return (
        pairs.with_columns(across=pl.Series(across))
        .sort("across", pl.col("matched") / pl.col("sampled"), "a", "b", descending=[True, True, False, False])
        .drop("across")
    )


def _confirmed(
    pairs: pl.DataFrame,
    builds: Sequence[Audited],
    numbered: pl.DataFrame,
    config: DuplicateConfig,
    most: int,
    pictures: Pictures,
) -> pl.DataFrame:
    """``pairs`` with agreed, likeness and confirmed; null beyond the first ``most`` and without stored crops."""
    distance = config.distance
    some = pairs.filter("stored").head(most).sort("a", "b")  # pictures of a are needed again and again
    numbers = sorted(set(some["a"]) | set(some["b"]))
    rows = sample_rows(builds, numbered, numbers).partition_by("number", as_dict=True) if numbers else {}
    looked = [
        (
            a,
            b,
            *_compared(
                rows[(a,)].to_dicts(),
                rows[(b,)].to_dicts(),
                seen,
                min(config.needed(sampled), matched),  # fewer of a short clip with equal pictures
                distance,
                pictures,
            ),
        )
        for a, b, seen, sampled, matched in some.select("a", "b", "seen", "sampled", "matched").iter_rows()
    ]
    schema = {"a": pl.Int64, "b": pl.Int64, "agreed": pl.Int64, "likeness": pl.Float64, "confirmed": pl.Boolean}
    return pairs.join(pl.DataFrame(looked, schema=schema, orient="row"), on=["a", "b"], how="left").sort("a", "b")


def _compared(
    a: list[dict[str, Any]], b: list[dict[str, Any]], seen: Seen, needed: int, distance: int, pictures: Pictures
) -> tuple[int, float | None, bool]:
    """How many matching frames agree on pixels, the median of those, and whether they are enough."""
    first, second = _frames(a, seen), _frames(b, seen)
    matches = chain(_hashes(first, seen), _hashes(second, seen), distance)
    values = agreeing(first, second, matches, pictures, needed)
    return len(values), float(np.median(values)) if values else None, len(values) >= needed


def _frames(rows: list[dict[str, Any]], seen: Seen) -> list[list[dict[str, Any]]]:
    """The rows of each hashed frame in order of time; each crop by itself where crops were hashed."""
    if seen == "crop":
        return [[row] for row in rows if row["phash"] is not None]
    frames: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["frame_index"], row["track"])):
        if row["frame_phash"] is not None:
            frames[row["frame_index"]].append(row)
    return list(frames.values())


def _hashes(frames: list[list[dict[str, Any]]], seen: Seen) -> Hashes:
    column = "frame_phash" if seen == "frame" else "phash"
    return np.array([frame[0][column] for frame in frames], np.uint64)


def known_strangers(pairs: pl.DataFrame, numbered: pl.DataFrame) -> pl.Series:
    """Which pairs are known to show different people: all their people are named, and none is in both."""
    people = numbered.select("dataset", "target_id", "donor_id", sure=SURE)
    one, two = people[pairs["a"].to_list()], people[pairs["b"].to_list()]
    both = (one["dataset"] == two["dataset"]) & one["sure"] & two["sure"]
    for own in ("target_id", "donor_id"):
        for other in ("target_id", "donor_id"):
            both &= (one[own] != two[other]).fill_null(value=True)
    return both
