"""The table of estimated persons: who `quality persons` takes each video's people to be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from semblance.manifests import storage
from semblance.manifests.columns import DATASET, TEXT, VIDEO_ID, WHOLE, Column
from semblance.manifests.errors import SemblanceError
from semblance.manifests.ids import digest
from semblance.manifests.splits import Estimate, Estimates

Role = Literal["target", "donor"]
By = Literal[
    "known", "cluster", "attached", "original", "donor", "abstained", "no_face", "unknown_original"
]  # what gave a row its person, or why it has none
FILE: Final = "manifests/persons.parquet"  # of a build
KNOWN: Final = "id:"  # what a name begins with if a known id gave it
COLUMNS: Final = (
    DATASET,
    VIDEO_ID,
    Column(
        name="role",
        type=TEXT,
        meaning="target: whose head and scene are shown; donor: whose face was put into a fake, if its recording is "
        "known and was embedded",
    ),
    Column(
        name="person",
        type=pa.int16(),
        meaning="number of the person in the video, as in samples",
        unit="persons",
        null="inherited, or nobody was found",
    ),
    Column(
        name="person_estimated",
        type=TEXT,
        meaning="the person, estimated from faces: p0001, ... over all builds of the run; id:... if the id is known",
        null="nobody could be estimated",
    ),
    Column(
        name="by",
        type=TEXT,
        meaning="known, cluster, attached (a small cluster joined to the nearest large one), original (a fake's), "
        "donor; without a person: abstained, no_face, unknown_original",
    ),
    Column(name="crops", type=WHOLE, meaning="crops that were embedded; 0 if inherited", unit="crops"),
    Column(
        name="near",
        type=pa.list_(TEXT),
        meaning="other persons within the quarantine distance: if one of them is in test, the video should be in "
        "neither train nor val; if in val, not in train",
    ),
)
SCHEMA: Final = pa.schema([(column.name, column.type) for column in COLUMNS])
FEW: Final = 20  # people, or clips: the interval of a share of fewer would look surer than it is
_ABOUT: Final = b"semblance.persons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Persons:
    """Rows of ``COLUMNS``, and how they were found: embedder, thresholds, counts, calibration."""

    rows: pl.DataFrame
    about: Mapping[str, Any]


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with the columns and types of the table, sorted by dataset, video, role and person."""
    found = pl.from_arrow(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert isinstance(found, pl.DataFrame)
    return found.sort("dataset", "video_id", pl.col("role") == "donor", "person", "person_estimated")


def url_of(out: str) -> str:
    """Where the build ``out`` (a path or URL) has its table."""
    return storage.join(out, FILE)


def write(url: str, persons: Persons) -> None:
    """Write the table atomically; equal values give equal bytes."""
    about = json.dumps(persons.about, sort_keys=True, ensure_ascii=False)
    table = persons.rows.select(SCHEMA.names).to_arrow().cast(SCHEMA).replace_schema_metadata({_ABOUT: about.encode()})
    with storage.spool() as folder:
        local = str(folder / "persons.parquet")
        pq.write_table(table, local, compression="zstd")
        storage.publish(local, url)


def read(url: str) -> Persons:
    """The table at ``url``, or of the build ``url``.

    Raises SemblanceError if it is missing, or no table of `quality persons`.
    """
    if not url.endswith(".parquet"):
        url = url_of(url)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError as error:
        raise SemblanceError(f"{url} does not exist; write it with `quality persons OUT --weights W`.") from error
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            table = file.read(use_threads=False)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        found = pl.from_arrow(table.select(SCHEMA.names).cast(SCHEMA))
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise SemblanceError(
            f"{url} is no table of estimated persons ({_reason(error)}); write one with `quality persons`."
        ) from error
    assert isinstance(found, pl.DataFrame)
    return Persons(rows=found, about=about)


def _reason(error: Exception) -> str:
    return "its metadata say nothing of people" if isinstance(error, KeyError) else str(error).splitlines()[0]


def estimates(persons: Persons) -> Estimates:
    """The table as protocol ``person_estimated`` takes it."""
    of: dict[str, Estimate] = {}
    for (video_id,), rows in persons.rows.group_by(["video_id"], maintain_order=True):
        named = rows.drop_nulls("person_estimated")
        of[str(video_id)] = Estimate(
            targets=tuple(named.filter(role="target")["person_estimated"].unique().sort()),
            donors=tuple(named.filter(role="donor")["person_estimated"].unique().sort()),
            near=tuple(sorted({name for names in rows["near"].drop_nulls() for name in names})),
            somebody_else=bool(rows["by"].is_in(["abstained", "no_face"]).any()),
        )
    return Estimates(of=of, facts=tuple(_facts(persons.about)), digest=digest(*persons.rows.iter_rows()))


def _facts(about: Mapping[str, Any]) -> Iterator[str]:
    """How the persons were estimated, and how many test clips may leak nevertheless."""
    if "embedder" not in about:
        yield "nothing is known about how these persons were estimated"
        return
    weights, found = about["weights"], about["calibration"]
    yield (
        f"persons estimated by {about['embedder']} ({weights['file']}, sha256 {str(weights['sha256'])[:12]}), average "
        f"linkage to the cosine distance {about['thresholds']['linkage']:.2f}"
    )
    if found is None:
        yield "how many test clips still show a person of train is unknown: nothing could calibrate the estimate"
        return
    leak = found["leak"]
    few = found["people"] < FEW
    interval = "too few people to say how sure" if few else f"{leak['low']:.1%} to {leak['high']:.1%}"
    yield (
        f"estimated share of test clips whose person is still in train: {leak['share']:.1%} ({interval}; by "
        f"{found['why']})"
    )
