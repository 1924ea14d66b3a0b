"""`quality persons`: embed the reals of builds, cluster, name, calibrate, and write each build's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.manifests import build_files, persons, tables
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.persons import Persons
from semblance.quality.people import calibration, table
from semblance.quality.people.calibration import Calibration
from semblance.quality.people.clusters import Clusters, Points, centred, cluster, known_apart, near
from semblance.quality.people.embedders.door import Distances, Embedder
from semblance.quality.people.links import Links, known_of, links, videos
from semblance.quality.people.vectors import Faces, Progress, embed, silent
from semblance.quality.statistics.bootstrap import DRAWS, Estimate, estimate

_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user may choose: crops a person, the least clips of a large cluster, distances in place of the
    embedder's, and the rate of false matches at which the collection sets the linkage.
    """

    crops: int = 5
    least: int = 4
    rate: float = 0.001
    linkage: float | None = None
    attach: float | None = None
    quarantine: float | None = None

    @property
    def given(self) -> dict[str, float]:
        """The distances that were given."""
        names = ("linkage", "attach", "quarantine")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """The rows of all builds together, those of each build, and what is said of them."""

    rows: pl.DataFrame
    builds: tuple[pl.DataFrame, ...]
    about: Mapping[str, Any]
    faces: Faces

    def of(self, build: int) -> Persons:
        """The table of one build."""
        return Persons(rows=self.builds[build], about=self.about)


def people(
    outs: Sequence[str], load: Callable[[], Embedder], wish: Wish, workers: int = 1, progress: Progress = silent
) -> Result:
    """Estimate the people of finished builds; nothing is written. ``load``: see ``vectors.embed``."""
    plain = [out.rstrip("/") for out in outs]
    if twice := {out for out in plain if plain.count(out) > 1}:
        raise UsageError(f"{min(twice)} is named twice; give every build once.")
    for out in outs:
        build_files.finished(out)
    embedder = load()
    planned = videos([tables.read_plan(out) for out in outs])
    faces = embed(outs, load, wish.crops, workers, progress)
    return judged(faces, planned, embedder, wish)


def judged(faces: Faces, planned: pl.DataFrame, embedder: Embedder, wish: Wish) -> Result:
    """From vectors to the table: pure."""
    known = known_of(faces.rows, planned)
    tied = links(faces.rows, planned)
    setting = _setting(faces, tied, planned, embedder, wish)
    points = setting.points
    clusters = cluster(points, setting.used, wish.least)
    close = near(points, clusters, setting.used.quarantine, known_apart(points, clusters))
    numbered = list(table.rows(planned, table.found(faces, tied, clusters, close, known)))
    withheld = links(faces.rows, planned, withhold=True)
    trust = calibration.calibrate(faces, planned, withheld, known, setting.stated, wish.least)
    rows = persons.frame([row for _, row in numbered])
    about = {
        "estimated": "from faces",
        "embedder": embedder.name,
        "weights": dict(embedder.weights),
        "alignment": embedder.alignment.name,
        "centred": setting.centred,
        "thresholds": setting.used.model_dump()
        | {"least_clips": wish.least, "by": setting.by, "small_clusters_abstain": clusters.small},
        "counts": _counts(rows, planned, faces, clusters),
        "calibration": None if trust is None else _calibration(trust),
        "leaking_share": present(rows, planned),
    }
    builds = tuple(
        persons.frame([row for place, row in numbered if place == build])
        for build in range(int(planned["build"].max()) + 1)  # type: ignore[arg-type]
    )
    return Result(rows=rows, builds=builds, about=about, faces=faces)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Setting:
    """What is clustered, at which distances: ``used``, those of ``stated`` unless the vectors are not centred."""

    points: Points
    stated: Distances
    used: Distances
    centred: bool
    by: str  # user, collection or embedder


def _setting(faces: Faces, tied: Links, planned: pl.DataFrame, embedder: Embedder, wish: Wish) -> _Setting:
    stated = _stated(embedder, wish)
    vectors, done = centred(calibration.point_means(faces.vector_ND, tied.point_N), stated.raw)
    clips = table.clips_of(tied, faces, planned)
    points = Points(vector_ND=vectors, clips_N=clips, known=tied.known_P, apart_K2=tied.apart_K2)
    taken = False
    if done and wish.linkage is None:
        stated, taken = calibration.limits(stated, calibration.strangers(points), wish.rate)
    stated = stated.model_copy(update=wish.given)
    return _Setting(
        points=points,
        stated=stated,
        used=stated if done else calibration.without_centre(stated).model_copy(update=wish.given),
        centred=done,
        by="user" if wish.linkage is not None else "collection" if taken else "embedder",
    )


def _stated(embedder: Embedder, wish: Wish) -> Distances:
    """The embedder's distances; those that a user gives suffice for a network that states none."""
    if embedder.distances is not None:
        return embedder.distances
    if wish.linkage is None:
        raise SemblanceError(
            f"{embedder.name} states no distances: pass --linkage, or state `distances` in the file of --network."
        )
    wide = wish.linkage
    return Distances(linkage=wide, attach=wide, quarantine=wide, raw=wide)


def _counts(rows: pl.DataFrame, planned: pl.DataFrame, faces: Faces, clusters: Clusters) -> dict[str, Any]:
    targets = rows.filter(pl.col("role") == "target")
    fakes = planned.filter(pl.col("label") == 1)
    donors = rows.filter(pl.col("role") == "donor").select("dataset", "video_id").n_unique()
    by = dict(targets.group_by("by").len().sort("by").iter_rows())
    return {
        "videos": planned.height,
        "faces_embedded": faces.rows.height,
        "crops_embedded": int(faces.rows["crops"].sum()),
        "crops_without_landmarks": faces.unaligned,
        "crops_unreadable": faces.unreadable,
        "clusters": len(clusters.mean_CD),
        "people": rows["person_estimated"].drop_nulls().n_unique(),
        **{name: int(by.get(name, 0)) for name in ("known", "cluster", "attached", "abstained", "no_face", "original")},
        "unknown_original": int(by.get("unknown_original", 0)),
        "fakes": fakes.height,
        "unknown_donors": fakes.height - donors,
        "near_another": targets.filter(pl.col("near").list.len() > 0).height,
    }


def _calibration(trust: Calibration) -> dict[str, Any]:
    return asdict(trust) | {"optimistic": trust.optimistic, "why": calibration.WHY[trust.truth]}


def present(rows: pl.DataFrame, planned: pl.DataFrame) -> dict[str, Any] | None:
    """Of the test clips with an estimated person, the share of which one is in train or val, under the own split.

    With the middle 95 % of draws of people; None without such clips.
    """
    key = ["dataset", "video_id"]
    split = planned.select(*key, "split").unique(key, keep="first", maintain_order=True)
    named = rows.drop_nulls("person_estimated").join(split, on=key, how="left")
    trained = set(named.filter(pl.col("split").is_in(["train", "val"]))["person_estimated"])
    tests = (
        named.filter((pl.col("split") == "test") & (pl.col("role") == "target"))
        .with_columns(leaks=pl.col("person_estimated").is_in(list(trained)))
        .group_by("dataset", "video_id")
        .agg(pl.col("leaks").any(), pl.col("person_estimated").min())
        .sort("dataset", "video_id")
    )
    if not tests.height:
        return None
    leak_N = tests["leaks"].to_numpy().astype(np.float64)

    def share(weight_DN: np.ndarray[Any, np.dtype[np.float64]] | None) -> dict[str, Any]:
        weights = np.ones((1, len(leak_N))) if weight_DN is None else weight_DN
        return {"share": weights @ leak_N / weights.sum(1)}

    found: Estimate = estimate(share, tests["person_estimated"].to_list(), draws=DRAWS, seed=_SEED)["share"]
    return {"tests": tests.height, "share": found.value, "low": found.low, "high": found.high}
