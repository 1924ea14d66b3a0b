"""Read back the outcomes of videos from a build with range reads: rows, JSON, pictures and masks."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from semblance.manifests import storage, tables
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Outcome, Rejection, Sample
from semblance.shards import layout, tar
from semblance.shards.layout import Receipt
from semblance.shards.repack.subset import Keep, leave_out
from semblance.shards.verify import contradictions
from semblance.shards.write import read_sample_json

_GAP: Final = 1 << 18  # gaps up to this many bytes are read, not skipped
_MOST: Final = 1 << 25  # most bytes of one read
Row = dict[str, Any]
Span = tuple[int, int]  # first byte, and the byte after the last


def read_back(
    out: str, receipt: Receipt, wanted: Collection[str], keep: Keep | None, extension: str
) -> dict[str, Outcome]:
    """Video id -> outcome, for the ``wanted`` videos of the shard of ``receipt`` in the build ``out``.

    With ``keep``, samples that are not on the list become rejections. Pictures and masks are the bytes of the build,
    and rows of samples have the full precision of their JSON. Raises SemblanceError if a picture or JSON does not match
    its row.
    """
    parts = {table: tables.read_rows(_url(out, layout.manifest_path(table, receipt.key))) for table in layout.PARTS}
    selected = {table: [row for row in rows if row["video_id"] in wanted] for table, rows in parts.items()}
    kept = [row for row in selected["samples"] if keep is None or keep.has(row)]
    samples: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in _samples(out, receipt, parts["samples"], kept, extension):
        samples[sample.row["video_id"]].append(sample)
    removed = _by_video(row for row in selected["samples"] if keep is not None and not keep.has(row))
    rejections: defaultdict[str, list[Rejection]] = defaultdict(list)
    for rejection in _rejections(out, receipt, selected["rejects"]):
        rejections[rejection.row["video_id"]].append(rejection)
    outcomes = {}
    for row in selected["videos"]:
        name = row["video_id"]
        rejected, video = leave_out(removed[name], rejections[name], row)
        outcomes[name] = Outcome(video=video, samples=tuple(samples[name]), rejections=tuple(rejected))
    if lost := sorted(set(wanted) - outcomes.keys()):
        raise _damage(out, f"video {lost[0]} has no row in {layout.manifest_path('videos', receipt.key)}")
    return outcomes


def spans(rows: Iterable[Mapping[str, Any]], end: int) -> dict[str, Span]:
    """Sample id -> the bytes of all its members, from the rows of a whole shard whose tar has ``end`` bytes.

    A sample's members are adjacent, the picture first: they end where the next sample's header begins.
    """
    starts = sorted((row["tar_offset"] - tar.BLOCK, row["sample_id"]) for row in rows)
    ends = [*(start for start, _ in starts[1:]), end]
    return {name: (start, stop) for (start, name), stop in zip(starts, ends, strict=True)}


def _samples(
    out: str, receipt: Receipt, rows: Sequence[Row], wanted: Sequence[Row], extension: str
) -> Iterator[Sample]:
    if not wanted:
        return
    places = spans(rows, receipt.bytes)
    url = _url(out, receipt.shard or "")
    for run, inside in _runs((places[row["sample_id"]], row) for row in wanted):
        data = storage.read_range(url, run[0], run[1] - run[0])
        for (start, end), row in inside:
            try:
                members = list(tar.piece(data[start - run[0] : end - run[0]], start))
            except SemblanceError as error:
                raise _damage(out, f"in {receipt.shard} {error}") from error
            yield _sample(out, row, {member.name: member.data for member in members}, extension)


def _sample(out: str, row: Row, parts: Mapping[str, bytes], extension: str) -> Sample:
    """A sample from its members by name; a missing member or a mismatch with the row is damage."""
    name = row["sample_id"]
    picture = parts.get(f"{name}.{extension}", b"")
    if hashlib.sha256(picture).hexdigest() != row["sha256"]:
        raise _damage(out, f"the picture of {name} differs from the committed one")
    try:
        note = read_sample_json(parts[f"{name}.json"])
        wrong = next(contradictions(note, row), None)
    except (KeyError, ValueError, AttributeError) as error:
        raise _damage(out, f"the JSON of {name} cannot be read") from error
    if wrong:
        raise _damage(out, f"the JSON of {name} {wrong}")
    return Sample(row=note, picture=picture, mask=parts.get(f"{name}.mask.png"))


def _rejections(out: str, receipt: Receipt, rows: Sequence[Row]) -> Iterator[Rejection]:
    """The rejections in the order of their rows, with their small pictures, if any."""
    url = _url(out, layout.rejects_path(receipt.key))
    places = (((row["tar_offset"], row["tar_offset"] + row["tar_bytes"]), row) for row in rows if row["shard"])
    pictures: dict[str, bytes] = {}
    for run, inside in _runs(places):
        data = storage.read_range(url, run[0], run[1] - run[0])
        pictures |= {row["sample_id"]: data[start - run[0] : end - run[0]] for (start, end), row in inside}
    for row in rows:
        yield Rejection(row=row, picture=pictures.get(row["sample_id"]) if row["shard"] else None)


def _runs(wanted: Iterable[tuple[Span, Row]]) -> list[tuple[Span, list[tuple[Span, Row]]]]:
    """Sorted spans, near ones merged into one read of bounded size: (bytes to read, the spans and rows inside)."""
    runs: list[tuple[Span, list[tuple[Span, Row]]]] = []
    for span, row in sorted(wanted, key=itemgetter(0)):
        if runs and span[0] - runs[-1][0][1] <= _GAP and span[1] - runs[-1][0][0] <= _MOST:
            (start, _), inside = runs[-1]
            inside.append((span, row))
            runs[-1] = ((start, span[1]), inside)
        else:
            runs.append((span, [(span, row)]))
    return runs


def _by_video(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    grouped_rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        grouped_rows[row["video_id"]].append(row)
    return grouped_rows


def _url(out: str, path: str) -> str:
    return storage.join(out, path)


def _damage(out: str, what: str) -> SemblanceError:
    return SemblanceError(f"{out} is damaged: {what}; `shards verify {out} --deep` lists all damage.")
