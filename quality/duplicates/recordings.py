"""One recording under two names, whatever was done to the copy: found by aligned faces, confirmed on their pixels and
local features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from semblance.quality import builds as audited
from semblance.quality.builds import Audited
from semblance.quality.duplicates import aligned_match, aligned_search
from semblance.quality.duplicates.aligned_search import DISTANCE
from semblance.quality.duplicates.pixel_match import Pictures
from semblance.quality.duplicates.search import SURE as NAMED
from semblance.quality.duplicates.search import first_across, known_strangers
from semblance.quality.duplicates.sequences import different_people

# Of pairs of strangers none correlates by more than 0.58, and none has more than 10 features in common; of copies of
# fourteen people under nineteen changes nearly all pass both (tests/benchmarks/COPIES.md).
ALIKE: Final = 0.6
FEATURES: Final = 10
CLOSE: Final = 0.75  # below, only with so many features: invented faces made of one portrait reach 0.64 with 27
MANY: Final = 30
SURE: Final = 0.9  # correlation from which the transformation is told
MOMENT: Final = "another moment, or a copy that was changed"
_FACES: Final = 8  # pairs of faces of two videos that are compared on pixels
_CONFIRMED: Final = {
    **dict.fromkeys(("a", "b", "agreed", "features"), pl.Int64),
    **{"likeness": pl.Float64, "how": pl.String, "confirmed": pl.Boolean},
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recordings:
    """The result of a search for recordings shown by videos of two families.

    ``pairs`` holds those that match by hash: a, b (numbers of videos), matched, sampled, mirrored, stored (whether
    both have crops to compare), strangers (whether they are known to show different people), agreed (pairs of faces
    alike on pixels), likeness (the best correlation), features (that agree on one similarity), how (the transformation
    in words) and confirmed; the last five are null where pixels were not compared. ``bare`` videos have no hash of an
    aligned face, ``unhashed`` of them are of the builds (by place) in ``older``, which have none. ``refuted`` pairs
    matched by hash and not on pixels. ``different`` pairs of searched videos are known to show different people;
    ``false_by_hash`` and ``false_confirmed`` of them matched.
    """

    pairs: pl.DataFrame
    videos: int  # with faces enough
    bare: int
    unhashed: int
    older: frozenset[int]
    flat: int
    common: int
    refuted: int
    unreadable: int
    different: int
    false_by_hash: int
    false_confirmed: int

    @property
    def unseen(self) -> int:
        """Pairs that match by hash and could have been compared on pixels, but were not."""
        return self.pairs.filter(pl.col("confirmed").is_null() & pl.col("stored")).height

    @property
    def unstored(self) -> int:
        """Pairs that match by hash, of which one video has no crop to compare."""
        return self.pairs.filter(~pl.col("stored")).height


def same_recordings(builds: Sequence[Audited], numbered: pl.DataFrame, known: pl.DataFrame, most: int) -> Recordings:
    """Find recordings that two families share and confirm at most ``most`` pairs of videos on pixels.

    ``known``: pairs of near-duplicates (a, b), which need not be found again.
    """
    faces = audited.faces(builds, numbered)
    found = aligned_search.find_aligned(
        faces["number"].to_numpy().astype(np.int64),
        faces["aligned_phash"].to_numpy(),
        faces["aligned_phash_mirrored"].to_numpy(),
        numbered["family"].to_numpy(),
    )
    hashed = faces["number"].unique()
    stored = faces.filter("stored")["number"].unique().implode()
    del faces
    others = found.pairs.filter(~pl.col("family")).drop("family")
    others = others.join(
        known.select(pl.col("a", "b").cast(pl.Int64)), on=["a", "b"], how="anti", maintain_order="left"
    )
    others = others.with_columns(
        stored=pl.col("a").is_in(stored) & pl.col("b").is_in(stored), strangers=known_strangers(others, numbered)
    )
    pictures = Pictures([build.name for build in builds])
    looked = _confirmed(first_across(others, numbered), builds, numbered, most, pictures)
    pairs = looked.filter(pl.col("confirmed").fill_null(value=True))
    false = pairs.filter("strangers")
    named = numbered.filter(NAMED & pl.col("number").is_in(hashed.implode()))
    older = frozenset(range(len(builds))) - {*numbered.filter(pl.col("number").is_in(hashed.implode()))["build"]}
    return Recordings(
        pairs=pairs,
        videos=found.compared,
        bare=numbered.height - len(hashed),
        unhashed=numbered.filter(pl.col("build").is_in(list(older))).height,
        older=older,
        flat=found.flat,
        common=found.common,
        refuted=looked.height - pairs.height,
        unreadable=pictures.unreadable,
        different=different_people(named),
        false_by_hash=int(others["strangers"].sum()),
        false_confirmed=int(false["confirmed"].sum() or 0),
    )


def _confirmed(
    pairs: pl.DataFrame, builds: Sequence[Audited], numbered: pl.DataFrame, most: int, pictures: Pictures
) -> pl.DataFrame:
    """``pairs`` with what their pixels say; null beyond the first ``most`` and without stored crops."""
    some = pairs.filter("stored").head(most).sort("a", "b")  # pictures of a are needed again and again
    numbers = sorted(set(some["a"]) | set(some["b"]))
    rows = audited.sample_rows(builds, numbered, numbers).drop_nulls("aligned_phash") if numbers else pl.DataFrame()
    by_video = rows.partition_by("number", as_dict=True) if rows.height else {}
    looked = []
    for a, b, mirrored in some.select("a", "b", "mirrored").iter_rows():
        first, second = (by_video[(end,)].to_dicts() if (end,) in by_video else [] for end in (a, b))
        looked.append((a, b, *_compared(first, second, pictures, mirror=mirrored)))
    result = pl.DataFrame(looked, schema=_CONFIRMED, orient="row")
    return pairs.join(result, on=["a", "b"], how="left").sort("a", "b")


def _compared(
    a: Rows, b: Rows, pictures: Pictures, *, mirror: bool
) -> tuple[int, int | None, float | None, str | None, bool]:
    """How many pairs of faces are alike, the features that agree, the best correlation, the change, the verdict.

    The pairs with the nearest hashes are compared; the features are those of the one that correlates best.
    """
    best: tuple[float, dict[str, Any], dict[str, Any]] | None = None
    agreed = 0
    for i, j in nearest(_hashes(a), _hashes(b, mirrored=mirror), _hashes(a, mirrored=mirror), _hashes(b)):
        images = pictures(a[i]), pictures(b[j])
        if images[0] is None or images[1] is None:
            continue
        first = aligned_match.face_of(images[0], a[i])
        second = aligned_match.face_of(images[1], b[j], mirror=mirror)
        if first is None or second is None:
            continue
        value = aligned_match.alike(first, second)
        agreed += value > ALIKE
        if best is None or value > best[0]:
            best = value, a[i], b[j]
    if best is None or best[0] <= ALIKE:
        return agreed, None, None if best is None else best[0], None, False
    one, other = pictures(best[1]), pictures(best[2])
    assert one is not None
    assert other is not None
    count, between = aligned_match.features(one, other, mirror=mirror)
    if between is None or count <= FEATURES or (best[0] < CLOSE and count < MANY):
        return agreed, count, best[0], None, False
    if best[0] < SURE:  # a head that moved would be told as a cut or a turn of the picture
        return agreed, count, best[0], "mirrored, or changed otherwise" if mirror else MOMENT, True
    how = aligned_match.transformation(best[1], best[2], (one.shape[1], other.shape[1]), between, mirror=mirror)
    return agreed, count, best[0], None if how is None else str(how), True


def _hashes(rows: Rows, *, mirrored: bool = False) -> NDArray[np.uint64]:
    column = "aligned_phash_mirrored" if mirrored else "aligned_phash"
    return np.array([row[column] for row in rows], np.uint64)


def nearest(
    a: NDArray[np.uint64], b: NDArray[np.uint64], a_other: NDArray[np.uint64], b_other: NDArray[np.uint64]
) -> list[tuple[int, int]]:
    """Pairs of faces (place in a, place in b) that match, the nearest first, each face once; at most eight.

    The distance is the less of those between ``a`` and ``b`` and between ``a_other`` and ``b_other``: whichever of the
    two is mirrored.
    """
    far = np.minimum(
        np.bitwise_count(a[:, None] ^ b[None, :]), np.bitwise_count(a_other[:, None] ^ b_other[None, :])
    ).astype(np.int64)
    found: list[tuple[int, int]] = []
    for place in np.argsort(far, axis=None, kind="stable"):
        i, j = divmod(int(place), len(b))
        if far[i, j] > DISTANCE or len(found) == _FACES:
            break
        if all(i != one and j != other for one, other in found):
            found.append((i, j))
    return found
