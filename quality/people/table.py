"""The rows of the table of persons: reals by their clusters, fakes by their originals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from semblance.manifests.persons import KNOWN, By
from semblance.quality.people.clusters import NOBODY, Clusters
from semblance.quality.people.links import Links
from semblance.quality.people.vectors import Faces

Row = dict[str, Any]
Key = tuple[str, str]  # dataset, and an id in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One person of a real video."""

    person: int
    name: str | None
    by: By
    crops: int
    near: list[str]
    build: int
    video_id: str


def names(clusters: Clusters, points: Links, faces: Faces) -> list[str]:
    """The name of each cluster: ``id:`` and its known id, or p0001, ... by videos, then by smallest video id."""
    known: dict[int, str] = {}
    for point, name in enumerate(points.known_P):
        label = int(clusters.label_N[point])
        if name is not None and label != NOBODY:
            known[label] = name
    label_N = clusters.label_N[points.point_N]
    keys = list(faces.rows.select("dataset", "video_id").iter_rows())
    videos: dict[int, set[tuple[str, str]]] = {}
    for label, key in zip(label_N, keys, strict=True):
        videos.setdefault(int(label), set()).add(key)
    order = sorted(
        (label for label in range(len(clusters.mean_CD)) if label not in known),
        key=lambda label: (-len(videos[label]), min(videos[label])),
    )
    width = max(len(str(len(order))), 4)
    numbered = {label: f"p{place:0{width}d}" for place, label in enumerate(order, start=1)}
    return [KNOWN + known[label] if label in known else numbered[label] for label in range(len(clusters.mean_CD))]


def found(
    faces: Faces, links: Links, clusters: Clusters, close: Sequence[Sequence[int]], known: Sequence[str | None]
) -> list[Found]:
    """The person of each embedded face; ``close`` are the clusters that each point is near to."""
    called = names(clusters, links, faces)
    rows = []
    for face, row in enumerate(faces.rows.iter_rows(named=True)):
        point = int(links.point_N[face])
        label = int(clusters.label_N[point])
        by: By = "known" if known[face] is not None else clusters.how[point]
        rows.append(
            Found(
                person=row["person"],
                name=None if label == NOBODY else called[label],
                by=by,
                crops=row["crops"],
                near=sorted(called[one] for one in close[point]),
                build=row["build"],
                video_id=row["video_id"],
            )
        )
    return rows


def rows(planned: pl.DataFrame, people: Sequence[Found]) -> Iterator[tuple[int, Row]]:
    """The build and the row of every person of every planned video."""
    videos = planned.to_dicts()
    embedded: dict[tuple[int, str], list[Found]] = {}
    for one in people:
        embedded.setdefault((one.build, one.video_id), []).append(one)
    seen = _Originals(videos, embedded)
    for video in videos:
        own = embedded.get((video["build"], video["video_id"])) if video["label"] == 0 else None
        targets = [_row(video, one, one.by, one.person, one.crops) for one in own] if own else list(seen.target(video))
        for row in (*targets, *seen.donor(video)):
            yield video["build"], row


class _Originals:
    """Whom a video shows that was not embedded itself: a fake, or a real without a kept crop."""

    def __init__(self, videos: Sequence[Row], embedded: Mapping[tuple[int, str], list[Found]]) -> None:
        self._families: dict[Key, list[tuple[Row, list[Found]]]] = {}
        self._recordings: dict[Key, list[tuple[Row, list[Found]]]] = {}
        self._reals: dict[Key, set[str]] = {}  # family to its reals' recordings
        for video in videos:
            if video["label"] != 0:
                continue
            recordings = self._reals.setdefault((video["dataset"], video["family_id"]), set())
            if video["recording_id"] is not None:
                recordings.add(video["recording_id"])
            if own := embedded.get((video["build"], video["video_id"])):
                self._families.setdefault((video["dataset"], video["family_id"]), []).append((video, own))
                if video["recording_id"] is not None:
                    self._recordings.setdefault((video["dataset"], video["recording_id"]), []).append((video, own))

    def target(self, video: Row) -> Iterator[Row]:
        """The persons of its original, of the same compression if there is one; else its known id; else nobody."""
        sources = self._sources(video)
        known = None if video["known"] is None else KNOWN + video["known"]
        inherited = list(_inherited(video, sources))
        yield from inherited
        if known is not None and all(row["person_estimated"] != known for row in inherited):
            yield _named(video, known, "known")
        if not inherited and known is None:
            original = (video["dataset"], video["family_id"]) in self._reals
            yield _named(video, None, "no_face" if video["label"] != 1 or original else "unknown_original")

    def _sources(self, video: Row) -> list[tuple[Row, list[Found]]]:
        """The embedded reals of its family and recording; else of that recording, or of its family's only one."""
        family, own = (video["dataset"], video["family_id"]), video["recording_id"]
        if same := [one for one in self._families.get(family, []) if own is None or one[0]["recording_id"] == own]:
            return same
        recordings = {own} if own is not None else self._reals.get(family, set())
        return self._recordings.get((video["dataset"], *recordings), []) if len(recordings) == 1 else []

    def donor(self, video: Row) -> Iterator[Row]:
        """The donor of a fake, if its id or its recording is known."""
        if video["label"] != 1:
            return
        if video["donor_known"] is not None:
            yield _named(video, KNOWN + video["donor_known"], "known") | {"role": "donor"}
        elif sources := self._recordings.get((video["dataset"], video["donor_recording_id"] or ""), []):
            for row in _inherited(video, sources):
                yield row | {"role": "donor", "by": "donor" if row["person_estimated"] is not None else row["by"]}


def _inherited(video: Row, sources: Sequence[tuple[Row, list[Found]]]) -> Iterator[Row]:
    same = [own for source, own in sources if source["compression"] == video["compression"]]
    people = [one for own in same or [own for _, own in sources] for one in own]
    for name in sorted({one.name for one in people if one.name is not None}):
        near = sorted({other for one in people if one.name == name for other in one.near})
        yield _named(video, name, "original") | {"near": near}
    if nameless := [one for one in people if one.name is None]:
        near = sorted({other for one in nameless for other in one.near})
        yield _named(video, None, "abstained") | {"near": near}


def _row(video: Row, one: Found, by: By, person: int | None, crops: int) -> Row:
    return _named(video, one.name, by) | {"person": person, "crops": crops, "near": list(one.near)}


def _named(video: Row, name: str | None, by: By) -> Row:
    return {
        "dataset": video["dataset"],
        "video_id": video["video_id"],
        "role": "target",
        "person": None,
        "person_estimated": name,
        "by": by,
        "crops": 0,
        "near": [],
    }


def clips_of(links: Links, faces: Faces, planned: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Different clips of each point: recordings where they are known, else videos."""
    joined = faces.rows.join(
        planned.select("build", "dataset", "video_id", "recording_id"),
        on=["build", "dataset", "video_id"],
        how="left",
        maintain_order="left",
    ).with_columns(point=pl.Series(links.point_N), clip=pl.coalesce("recording_id", "video_id"))
    counted = joined.group_by("point").agg(pl.struct("dataset", "clip").n_unique().alias("clips")).sort("point")
    return counted["clips"].cast(pl.Int64).to_numpy()
