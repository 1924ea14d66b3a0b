"""When datasets and methods were given out: the one time that is known of most of their videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A day (ISO 8601) and who says so."""

    date: str
    source: str


_FFPP: Final = "changelog in the README of github.com/ondyari/FaceForensics"
_FIRST: Final = Release(date="2019-01-25", source=f"{_FFPP}: release of FaceForensics++")
_DFD: Final = Release(
    date="2019-09-24", source="ai.googleblog.com/2019/09/contributing-data-to-deepfake-detection.html, of that day"
)
# (dataset, group of the layout or method), then (dataset, None) for all others of it
RELEASES: Final[Mapping[tuple[str, str | None], Release]] = {
    ("ffpp", "youtube"): _FIRST,
    ("ffpp", "Deepfakes"): _FIRST,
    ("ffpp", "Face2Face"): _FIRST,
    ("ffpp", "FaceSwap"): _FIRST,
    ("ffpp", "NeuralTextures"): Release(date="2019-08-30", source=f"{_FFPP}: download script with NeuralTextures"),
    ("ffpp", "FaceShifter"): Release(date="2020-07-15", source=f"{_FFPP}: added FaceShifter"),
    ("ffpp", "actors"): _DFD,
    ("ffpp", "DeepFakeDetection"): _DFD,
    ("dfdc-preview", None): Release(date="2019-10-19", source="arXiv:1910.08854, first version, with the download"),
    ("celebdf", None): Release(
        date="2020-06-14", source="Li et al., CVPR 2020 (14 to 19 June); earlier copies went out on request"
    ),
    ("dfdc", None): Release(
        date="2020-06-25", source="deepfakedetectionchallenge.ai, page of the dataset, of that day"
    ),
    ("wilddeepfake", None): Release(
        date="2020-10-12", source="Zi et al., ACM Multimedia 2020 (12 to 16 October), doi:10.1145/3394171.3413769"
    ),
}


def release_of(dataset: str, part: str | None, method: str | None) -> Release | None:
    """The release of a video of ``dataset``: of its group (the first folder of ``part``) or method, else of all.

    None where nothing is known, as of a user's own videos.
    """
    group = (part or "").partition("/")[0]
    found = (RELEASES.get((dataset, name)) for name in (group, method, None))
    return next((release for release in found if release is not None), None)


def with_releases(plan: pl.DataFrame) -> pl.DataFrame:
    """A plan whose ``date`` is the release of each video's dataset or method, null where none is known."""
    groups = plan.select("dataset", "part", "method").unique(maintain_order=True)
    dates = [release and release.date for release in (release_of(*row) for row in groups.iter_rows())]
    table = groups.with_columns(pl.Series("date", dates, pl.String))
    joined = plan.drop("date").join(table, on=groups.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select(plan.columns)


def sources_of(plan: pl.DataFrame) -> list[str]:
    """One sentence for each release that a plan's videos have, the oldest first."""
    groups = plan.select("dataset", "part", "method").unique().iter_rows()
    found = {(one.date, group[0], one.source) for group in groups if (one := release_of(*group)) is not None}
    return [f"{dataset} was released {date} ({source})" for date, dataset, source in sorted(found)]
