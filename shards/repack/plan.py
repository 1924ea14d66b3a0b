"""The plan of a repacking: another protocol for the videos of a finished build, and the shards that they go to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from pydantic import ValidationError

from semblance.manifests import schema, splits, storage
from semblance.manifests import tables as store
from semblance.manifests.config import fingerprint
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SourceFinding, digest
from semblance.manifests.splits import Assigned, ProtocolNotes, SplitConfig
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
    """What to lay out: a protocol, and what belongs to it or None for what the build's recipe says."""

    split: str
    held_out: Sequence[str] = ()
    against: str | None = None
    keep: Keep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repack:
    """All that a repacking will do, fixed before it starts: a ``Claimant`` of its output folder."""

    out: str  # the build that it reads
    wish: RepackRequest
    description: Mapping[str, Any]  # the dataset.json of ``out``
    receipts: Mapping[str, Receipt]  # key -> receipt, of ``out``
    homes: Mapping[str, str]  # video_id -> key of its shard in ``out``
    inputs: tuple[storage.Stat, ...]
    findings: tuple[SourceFinding, ...]
    config: SplitConfig
    assigned: Assigned  # the new plan, in the build's order
    left_out: int  # samples that the list of those to keep does not name

    @property
    def parts(self) -> dict[str, Any]:
        """What the fingerprint covers."""
        return {
            "dataset": self.description["dataset"],
            "schema": schema.VERSION,
            "repacked": {
                "from": self.description["fingerprint"],
                "split": self.wish.split,
                "held_out": sorted(set(self.wish.held_out)),
                "against": self.config.against if self.wish.split == "official_clean" else None,
                "keep": self.wish.keep.sha256 if self.wish.keep else None,
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
        """This repacking, as dataset.json tells of it."""
        listed = self.wish.keep
        kept = {"column": listed.column, "ids": len(listed.ids), "left_out": self.left_out} if listed else None
        return {**self.parts["repacked"], "keep": kept}


def plan(out: str, wish: RepackRequest) -> Repack:
    """What ``wish`` makes of the finished build ``out``; writes nothing.

    Videos keep the sides that their protocol's column gives them; held-out methods and ``official_clean`` are
    computed from the rows. Shards are planned from the bytes that each video's samples take now, which are known,
    unlike when the build was planned. Raises SemblanceError where ``out`` is no finished build or ``wish.keep``
    names what it does not have, UsageError where the protocol does not exist for it.
    """
    description = build_folder.finished(out)
    recipe = description["recipe"]
    config = _config(recipe["split"], wish)
    old = store.scan(out, "plan").collect()
    homes = {name: key_of(shard) for name, shard in old.select("video_id", "shard").iter_rows()}
    receipts = {key: _receipt(out, key, description["fingerprint"]) for key in sorted(set(homes.values()))}
    assigned = splits.lay_out(old, config, ProtocolNotes(**description["protocols"]))
    sizes, left_out = _sizes(out, receipts.values(), wish.keep, set(homes))
    table = assign_shards(
        assigned.table,
        ShardConfig.model_validate(recipe["shards"]),
        dataset=description["dataset"],
        bytes_per_video=sizes,
        seed=recipe["seed"],
    )
    return Repack(
        out=out,
        wish=wish,
        description=description,
        receipts=receipts,
        homes=homes,
        inputs=_inputs(out, receipts.values()),
        findings=tuple(SourceFinding(**row) for row in store.read_rows(storage.join(out, _TABLES[1]))),
        config=config,
        assigned=replace(assigned, table=table),
        left_out=left_out,
    )


def _receipt(out: str, key: str, build: str) -> Receipt:
    if (receipt := committed(out, key, build, thorough=False)) is not None:
        return receipt
    raise SemblanceError(f"Shard {key} of {out} is not whole; `shards verify {out}` says what is wrong with it.")


def _config(recipe: Mapping[str, Any], wish: RepackRequest) -> SplitConfig:
    """The recipe's split with the wish laid over it."""
    known = get_args(splits.Protocol)
    if wish.split not in known:
        raise UsageError(f"There is no protocol {wish.split!r}; --split takes {', '.join(known)}.")
    if wish.held_out and wish.split != "method":
        raise UsageError(f"--held-out belongs to --split method, not to {wish.split}; leave it out.")
    if wish.against is not None and wish.split != "official_clean":
        raise UsageError(f"--against belongs to --split official_clean, not to {wish.split}; leave it out.")
    if wish.against is not None and wish.against not in get_args(Against):
        raise UsageError(f"--against takes {', '.join(get_args(Against))}, not {wish.against!r}.")
    held_out = {"held_out": tuple(sorted(set(wish.held_out))), "rotate": 0} if wish.held_out else {}
    against = {"against": wish.against} if wish.against else {}
    try:
        return SplitConfig.model_validate({**recipe, "protocol": wish.split, **held_out, **against})
    except ValidationError as error:
        raise SemblanceError(f"The build's recipe has another form of split ({error.errors()[0]['msg']}).") from error


def _inputs(out: str, receipts: Iterable[Receipt]) -> tuple[storage.Stat, ...]:
    """The files that decide what comes out, with their hashes; videos parts differ between equal builds in seconds."""
    tables = [(path, storage.join(out, path)) for path in _TABLES]
    found = [storage.Stat(path=path, bytes=storage.size(url), version=sha256_of(url)) for path, url in tables]
    for receipt in receipts:
        videos = layout.manifest_path("videos", receipt.key)
        found += [
            storage.Stat(path=stored.path, bytes=stored.bytes, version=stored.sha256)
            for stored in receipt.stored()
            if stored.path != videos
        ]
    return tuple(sorted(found, key=lambda stat: stat.path))


def _sizes(out: str, receipts: Iterable[Receipt], listed: Keep | None, videos: set[str]) -> tuple[dict[str, int], int]:
    """Video id -> bytes of its samples that stay, notes and masks included; and how many samples leave."""
    sizes: defaultdict[str, int] = defaultdict(int)
    left_out = 0
    unknown = set(listed.ids) if listed else set()
    if listed and listed.column == "video_id":
        unknown -= videos
    for receipt in receipts:
        if receipt.shard is None:
            continue
        url = storage.join(out, layout.manifest_path("samples", receipt.key))
        rows = store.read_columns(url, ["sample_id", "video_id", "tar_offset"]).to_dicts()
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
