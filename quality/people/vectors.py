"""From stored crops to one mean vector for each person of each real video."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import cv2
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from semblance.manifests import build_files, scan, storage
from semblance.manifests.errors import SemblanceError
from semblance.quality import codec
from semblance.quality.people.embedders.alignment import chip
from semblance.quality.people.embedders.door import Embedder
from semblance.shards import read

Vectors = NDArray[np.float32]
Progress = Callable[[int, int], None]  # crops done, of how many
_CHUNK: Final = 32  # chips embedded at once
_COLUMNS: Final = (
    *("dataset", "video_id", "sample_id", "person", "track", "frame_index", "landmarks"),
    *("box_x0", "box_y0", "box_x1", "box_y1", "crop_x0", "crop_y0", "crop_side", "shard", "tar_offset", "tar_bytes"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Faces:
    """The people of real videos, in order of dataset, video, build and person, and their vectors.

    ``rows``: build (its place), dataset, video_id, person, crops. ``vector_ND``: mean of the two halves, not centred.
    ``halves_N2D``: the same of every second crop; equal where there is one crop. ``unaligned``: crops without
    landmarks; ``unreadable``: pictures that cannot be read.
    """

    rows: pl.DataFrame
    vector_ND: Vectors
    halves_N2D: Vectors
    unaligned: int = 0
    unreadable: int = 0


def silent(_done: int, _total: int) -> None:
    """Say nothing of progress."""


def embed(
    outs: Sequence[str], load: Callable[[], Embedder], most: int, workers: int = 1, progress: Progress = silent
) -> Faces:
    """Embed at most ``most`` crops, spread over time, of every person in every real video of the builds.

    Each crop's vector is the mean of its own and its mirror's, both of length 1. ``load`` is called in each process.
    Raises SemblanceError if no real video has a crop, or none has landmarks.
    """
    chosen = pl.concat([_chosen(out, place, most) for place, out in enumerate(outs)])
    if not chosen.height:
        raise SemblanceError(f"No real video of {', '.join(outs)} has a kept crop; there is nobody to estimate.")
    aligned = chosen.filter(pl.col("landmarks").is_not_null() & pl.col("crop_side").is_not_null())
    if not aligned.height:
        raise SemblanceError(
            f"The faces of {', '.join(outs)} have no landmarks (they were cut out before), so that they cannot be "
            "aligned; people cannot be estimated here."
        )
    recipes = tuple(build_files.finished(out)["recipe"].get("crop", {}) for out in outs)
    crops = _Crops(outs=tuple(outs), recipes=recipes)
    vector_CD, readable_C = _vectors(crops, aligned.to_dicts(), load, workers, progress)
    if not readable_C.any():
        raise SemblanceError(
            f"No picture of {', '.join(outs)} can be read; `shards verify OUT --deep` names the fault."
        )
    return _means(
        aligned.filter(pl.Series(readable_C)),
        vector_CD[readable_C],
        unaligned=chosen.height - aligned.height,
        unreadable=int((~readable_C).sum()),
    )


def _chosen(out: str, place: int, most: int) -> pl.DataFrame:
    """The crops to embed: of each person, those nearest to ``most`` even steps in time."""
    rows = scan(out, flags=False).filter((pl.col("label") == 0) & (pl.col("verdict") == "keep")).select(_COLUMNS)
    found = rows.collect(engine="streaming")
    if found["person"].null_count() == found.height:  # an older build, which does not join tracks
        found = found.with_columns(person=pl.col("track"))
    key = ["dataset", "video_id", "person"]
    found = found.drop_nulls("person").sort(*key, "frame_index", "track")
    step = ((pl.col("place") * (most - 1) * 2 + pl.col("seen") - 1) // (2 * (pl.col("seen") - 1))).clip(0)
    return (
        found.with_columns(place=pl.int_range(pl.len()).over(key), seen=pl.len().over(key))
        .with_columns(step=pl.when(pl.col("seen") <= most).then(pl.col("place")).otherwise(step))
        .unique([*key, "step"], keep="first", maintain_order=True)
        .select(pl.lit(place).alias("build"), *_COLUMNS)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crops:
    """What a process needs to embed rows: the builds, and how their crops were cut."""

    outs: tuple[str, ...]
    recipes: tuple[Mapping[str, Any], ...]


def _vectors(
    crops: _Crops, rows: Sequence[dict[str, Any]], load: Callable[[], Embedder], workers: int, progress: Progress
) -> tuple[Vectors, NDArray[np.bool_]]:
    """One vector for each row, (C, D), and which could be read: the same for any number of processes."""
    parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found: list[tuple[Vectors, list[bool]]] = []
    done = 0
    with _mapping(load, min(workers, len(parts))) as mapped:
        for part, answer in zip(parts, mapped(partial(_part, crops), parts), strict=True):
            found.append(answer)
            done += len(part)
            progress(done, len(rows))
    readable = np.array([flag for _, flags in found for flag in flags], bool)
    vector_CD = np.concatenate([vectors for vectors, _ in found if len(vectors)] or [np.zeros((0, 1), np.float32)])
    all_CD = np.zeros((len(rows), vector_CD.shape[1]), np.float32)
    all_CD[readable] = vector_CD
    return all_CD, readable


@contextlib.contextmanager
def _mapping(load: Callable[[], Embedder], workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """``map`` in this process, or over new ones (forked ones would share OpenCV's and torch's threads)."""
    if workers <= 1:
        _begin(load)
        yield map
        return
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(load,)) as pool:
            yield pool.map
    except BrokenProcessPool as error:
        raise SemblanceError(
            "A process that embeds faces was ended, perhaps for memory; use fewer --workers."
        ) from error


_loaded: list[Embedder] = []  # of this process


def _begin(load: Callable[[], Embedder]) -> None:
    cv2.setNumThreads(0)
    _loaded[:] = [load()]


def _part(crops: _Crops, rows: Sequence[dict[str, Any]]) -> tuple[Vectors, list[bool]]:
    """The vectors of the rows that can be read, and which these are."""
    (embedder,) = _loaded
    chips, readable = [], []
    for row in rows:
        try:
            picture = codec.decode(read.fetch(crops.outs[row["build"]], row))
            chips.append(chip(picture, row, crops.recipes[row["build"]], embedder.alignment))
            readable.append(True)
        except (OSError, SemblanceError):  # counted; the person's other crops remain
            readable.append(False)
    if not chips:
        return np.zeros((0, 1), np.float32), readable
    chips_BHWC = np.stack(chips)
    both = [unit(embedder.embed(one)) for one in (chips_BHWC, np.ascontiguousarray(chips_BHWC[:, :, ::-1]))]
    return unit(both[0] + both[1]).astype(np.float32), readable


def _means(rows: pl.DataFrame, vector_CD: Vectors, *, unaligned: int, unreadable: int) -> Faces:
    """The crops' vectors joined to persons."""
    key = ["dataset", "video_id", "build", "person"]
    numbered = rows.with_row_index("crop").sort(*key, "frame_index", "track")
    grouped = numbered.group_by(key, maintain_order=True).agg("crop")
    halves = []
    for places in grouped["crop"]:
        own = vector_CD[places.to_numpy()]
        halves.append([own[::2].mean(0), own[1::2].mean(0) if len(own) > 1 else own[0]])
    halves_N2D = np.array(halves, np.float32)
    counts = grouped["crop"].list.len().to_numpy()
    first = ((counts + 1) // 2 / counts)[:, None]
    mean = np.where(counts[:, None] > 1, halves_N2D[:, 0] * first + halves_N2D[:, 1] * (1 - first), halves_N2D[:, 0])
    found = grouped.select(
        pl.col("build").cast(pl.Int32),
        "dataset",
        "video_id",
        pl.col("person").cast(pl.Int16),
        pl.col("crop").list.len().cast(pl.Int32).alias("crops"),
    )
    return Faces(
        rows=found,
        vector_ND=mean.astype(np.float32),
        halves_N2D=halves_N2D,
        unaligned=unaligned,
        unreadable=unreadable,
    )


def unit(vector_ND: NDArray[Any]) -> NDArray[Any]:
    """Each vector at length 1; a zero vector stays zero."""
    length = np.linalg.norm(vector_ND, axis=-1, keepdims=True)
    return vector_ND / np.where(length > 0, length, 1)


def keep(faces: Faces, about: Mapping[str, Any], url: str) -> None:
    """Write the mean vectors, not centred, as Parquet: biometric data."""
    table = faces.rows.select("dataset", "video_id", "person", "crops").to_arrow()
    table = table.append_column("vector", pa.array(list(faces.vector_ND), pa.list_(pa.float32())))
    said = {"semblance.embedder": about["embedder"], "semblance.weights": about["weights"]["sha256"]}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(said), buffer, compression="zstd")
    storage.write_bytes(url, buffer.getvalue())
