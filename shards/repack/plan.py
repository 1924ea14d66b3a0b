"""The plan of a repacked build: another protocol for the videos of a finished build, and their new shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

import polars as pl
from pydantic import ValidationError

from semblance.manifests import persons, schema, splits, storage, tables
from semblance.manifests.config import fingerprint
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.manifests.records import SourceFinding
from semblance.manifests.splits import Assigned, Estimates, ProtocolNotes, SplitConfig
from semblance.manifests.splits.protocols import Against
from semblance.shards import build_folder, layout
from semblance.shards.layout import Receipt, key_of
from semblance.shards.plan import ShardConfig, assign_shards
from semblance.shards.repack.restore import spans
from semblance.shards.repack.subset import Keep
from semblance.shards.write import committed, sha256_of

_TABLES: Final = ("plan.parquet", "manifests/findings.parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepackRequest:
    """A requested protocol and its options; None or empty for those of the build's recipe.

    ``persons``: the table for ``person_estimated``; without it that of the build, if it has one.
    """

    split: str
    held_out: Sequence[str] = ()
    against: str | None = None
    keep: Keep | None = None
    persons: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repack:
    """Everything that repacking will do, fixed before it starts; a ``Claimant`` of its output folder."""

    out: str  # folder of the source build
    request: RepackRequest
    description: Mapping[str, Any]  # the dataset.json of ``out``
    receipts: Mapping[str, Receipt]  # key -> receipt, of ``out``
    homes: Mapping[str, str]  # video_id -> key of its shard in ``out``
    inputs: tuple[storage.Stat, ...]
    findings: tuple[SourceFinding, ...]
    config: SplitConfig
    assigned: Assigned  # the new plan, in the build's order
    estimates: Estimates | None  # of persons, for protocol person_estimated
    left_out: int  # samples that are not on the list of those to keep

    @property
    def parts(self) -> dict[str, Any]:
        """The content of the fingerprint."""
        return {
            "dataset": self.description["dataset"],
            "schema": schema.VERSION,
            "repacked": {
                "from": self.description["fingerprint"],
                "split": self.request.split,
                "held_out": sorted(set(self.request.held_out)),
                "against": self.config.against if self.request.split == "official_clean" else None,
                "keep": self.request.keep.sha256 if self.request.keep else None,
                **({"persons": self.estimates.digest} if self.estimates is not None else {}),
            },
            "inputs": digest(*((stat.path, stat.bytes, stat.version) for stat in self.inputs)),
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.parts)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of plan.parquet."""
        return self.assigned.table.to_dicts()

    def step(self) -> dict[str, Any]:
        """The entry for this step in dataset.json."""
        listed = self.request.keep
        kept = {"column": listed.column, "ids": len(listed.ids), "left_out": self.left_out} if listed else None
        return {**self.parts["repacked"], "keep": kept}


def plan(out: str, request: RepackRequest) -> Repack:
    """Plan ``request`` for the finished build ``out``; writes nothing.

    Splits are those in the protocol's column; held-out methods and ``official_clean`` are computed from the rows.
    Shards are planned from the known size of each video's samples. Raises SemblanceError if ``out`` is not a finished
    build, or if ``request.keep`` has ids that it does not have; UsageError if the protocol is not available.
    """
    description = build_folder.finished(out)
    recipe = description["recipe"]
    config = _config(recipe["split"], request)
    old = tables.scan(out, "plan").collect()
    homes = {name: key_of(shard) for name, shard in old.select("video_id", "shard").iter_rows()}
    receipts = {key: _receipt(out, key, description["fingerprint"]) for key in sorted(set(homes.values()))}
    estimates = _estimates(out, request, old)
    assigned = splits.activate(old, config, ProtocolNotes(**description["protocols"]), recipe["seed"], estimates)
    sizes, left_out = _sizes(out, receipts.values(), request.keep, set(homes))
    table = assign_shards(
        assigned.table,
        ShardConfig.model_validate(recipe["shards"]),
        dataset=description["dataset"],
        bytes_per_video=sizes,
        seed=recipe["seed"],
    )
    return Repack(
        out=out,
        request=request,
        description=description,
        receipts=receipts,
        homes=homes,
        inputs=_inputs(out, receipts.values()),
        findings=tuple(SourceFinding(**row) for row in tables.read_rows(storage.join(out, _TABLES[1]))),
        config=config,
        assigned=replace(assigned, table=table),
        estimates=estimates,
        left_out=left_out,
    )


def _estimates(out: str, request: RepackRequest, plan: pl.DataFrame) -> Estimates | None:
    """The estimates to split by: of the table asked for, else of the build's own; None for those in its column."""
    if request.split != "person_estimated":
        return None
    own = persons.url_of(out)
    if request.persons is None and not storage.exists(own):
        if plan["split_person_estimated"].null_count() == plan.height:
            raise UsageError(
                f"{out} has no estimated persons; write their table with `quality persons {out} --weights W`, or give "
                "one with --persons."
            )
        return None
    return persons.estimates(persons.read(request.persons or own))


def _receipt(out: str, key: str, build: str) -> Receipt:
    if (receipt := committed(out, key, build, thorough=False)) is not None:
        return receipt
    raise SemblanceError(f"Shard {key} of {out} is damaged; `shards verify {out}` shows what is wrong.")


def _config(recipe: Mapping[str, Any], request: RepackRequest) -> SplitConfig:
    """The split section of the recipe with the request applied."""
    protocols = get_args(splits.Protocol)
    if request.split not in protocols:
        raise UsageError(f"Unknown protocol {request.split!r}; --split accepts {', '.join(protocols)}.")
    if request.held_out and request.split != "method":
        raise UsageError(f"--held-out is only for --split method, not for {request.split}; omit it.")
    if request.persons is not None and request.split != "person_estimated":
        raise UsageError(f"--persons is only for --split person_estimated, not for {request.split}; omit it.")
    if request.against is not None and request.split != "official_clean":
        raise UsageError(f"--against is only for --split official_clean, not for {request.split}; omit it.")
    if request.against is not None and request.against not in get_args(Against):
        raise UsageError(f"--against accepts {', '.join(get_args(Against))}, not {request.against!r}.")
    held_out = {"held_out": tuple(sorted(set(request.held_out))), "rotate": 0} if request.held_out else {}
    against = {"against": request.against} if request.against else {}
    table = {"persons": request.persons} if request.persons else {}
    try:
        return SplitConfig.model_validate({**recipe, "protocol": request.split, **held_out, **against, **table})
    except ValidationError as error:
        raise SemblanceError(
            f"The split section of the build's recipe is invalid ({error.errors()[0]['msg']})."
        ) from error


def _inputs(out: str, receipts: Iterable[Receipt]) -> tuple[storage.Stat, ...]:
    """The files that determine the result, with their hashes; without videos parts, whose times differ."""
    urls = [(path, storage.join(out, path)) for path in _TABLES]
    stats = [storage.Stat(path=path, bytes=storage.size(url), version=sha256_of(url)) for path, url in urls]
    for receipt in receipts:
        videos = layout.manifest_path("videos", receipt.key)
        stats += [
            storage.Stat(path=stored.path, bytes=stored.bytes, version=stored.sha256)
            for stored in receipt.stored()
            if stored.path != videos
        ]
    return tuple(sorted(stats, key=lambda stat: stat.path))


def _sizes(out: str, receipts: Iterable[Receipt], listed: Keep | None, videos: set[str]) -> tuple[dict[str, int], int]:
    """Video id -> bytes of its remaining samples, with JSON and masks; and the number of removed samples."""
    sizes: defaultdict[str, int] = defaultdict(int)
    left_out = 0
    unknown = set(listed.ids) if listed else set()
    if listed and listed.column == "video_id":
        unknown -= videos
    for receipt in receipts:
        if receipt.shard is None:
            continue
        url = storage.join(out, layout.manifest_path("samples", receipt.key))
        rows = tables.read_columns(url, ["sample_id", "video_id", "tar_offset"]).to_dicts()
        places = spans(rows, receipt.bytes)
        for row in rows:
            if listed is not None and not listed.has(row):
                left_out += 1
                continue
            unknown.discard(row["sample_id"])
            start, end = places[row["sample_id"]]
            sizes[row["video_id"]] += end - start
    if listed:
        listed.check(unknown)
    return sizes, left_out
