"""Another protocol laid out from a finished build's manifests and shards alone: no video is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from semblance.manifests import schema, storage
from semblance.manifests.records import SPLIT_COLUMNS, Outcome, Rejection, Sample
from semblance.shards import build_folder, card, lock
from semblance.shards.layout import Receipt, key_of
from semblance.shards.repack.plan import Repack
from semblance.shards.repack.restore import read_back
from semblance.shards.write import is_done, seal

Watch = Callable[[Receipt, int, int], None]  # a sealed shard, how many are done, how many there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Repacked:
    """How a repacking ended: ``worked`` on this many shards."""

    description: dict[str, Any]  # dataset.json
    worked: int


def run(repack: Repack, to: str, watch: Watch = lambda *_: None) -> Repacked:
    """Lay ``repack`` out at ``to``, going on where an earlier run of the same stopped.

    Raises SemblanceError for all that the user can mend; what is committed stays committed.
    """
    build_folder.refuse_inside(repack.out, to)
    build_folder.belongs(repack, to, flag="--to")
    shards: dict[str, list[dict[str, Any]]] = {}
    for row in repack.rows:
        shards.setdefault(row["shard"], []).append(row)
    pending = [shard for shard in shards if not is_done(to, key_of(shard), repack.fingerprint, thorough=False)]
    description = build_folder.read(to, build_folder.DATASET)
    if not pending and description is not None:
        return Repacked(description=description, worked=0)
    with lock.held(to) as ours:
        build_folder.take(repack, to, flag="--to")
        _seal_all(repack, to, shards, pending, ours, watch)
        _copy_flags(repack.out, to)
        description = _describe(repack, to)
        build_folder.finish(to, description, card.card(description))
    return Repacked(description=description, worked=len(pending))


def _seal_all(
    repack: Repack,
    to: str,
    shards: Mapping[str, list[dict[str, Any]]],
    pending: Sequence[str],
    ours: lock.Lease,
    watch: Watch,
) -> None:
    for number, shard in enumerate(pending):
        ours.check()
        receipt = seal(
            to,
            shard,
            _outcomes(repack, shards[shard]),
            fingerprint=repack.fingerprint,
            seed=repack.description["recipe"]["seed"],
            picture_extension=repack.description["recipe"]["encoding"]["format"],
        )
        watch(receipt, len(shards) - len(pending) + number + 1, len(shards))


def _outcomes(repack: Repack, rows: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """The outcomes of a new shard's videos, in its order, on their new sides."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        wanted[repack.homes[row["video_id"]]].add(row["video_id"])
    found: dict[str, Outcome] = {}
    extension = repack.description["recipe"]["encoding"]["format"]
    for key in sorted(wanted):
        found |= read_back(repack.out, repack.receipts[key], wanted[key], repack.wish.keep, extension)
    return [_moved(found[row["video_id"]], row) for row in rows]


def _moved(outcome: Outcome, planned: Mapping[str, Any]) -> Outcome:
    """The same outcome on the sides that ``planned``, its row of the new plan, says."""
    sides = {name: planned[name] for name in SPLIT_COLUMNS}
    return Outcome(
        video=dict(outcome.video) | sides,
        samples=tuple(Sample(row=dict(one.row) | sides, picture=one.picture, mask=one.mask) for one in outcome.samples),
        rejections=tuple(Rejection(row=dict(one.row) | sides, picture=one.picture) for one in outcome.rejections),
    )


def _copy_flags(out: str, to: str) -> None:
    """Judgements made of the build hold for what is made from it."""
    for name in storage.list_names(storage.join(out, "manifests", "flags")):
        data = storage.read_bytes(storage.join(out, "manifests", "flags", name))
        storage.write_bytes(storage.join(to, "manifests", "flags", name), data)


def _describe(repack: Repack, to: str) -> dict[str, Any]:
    """The content of dataset.json: the build's, with what is other now."""
    before = dict(repack.description)
    return before | {
        "fingerprint": repack.fingerprint,
        "split": repack.assigned.protocol,
        "versions": before["versions"] | {"schema": str(schema.VERSION)},  # the tables are written by this one
        "recipe": before["recipe"] | {"split": repack.config.model_dump(mode="json")},
        "counts": card.counts(to, masks=before["recipe"]["masks"]),
        "leaks": card.found_leaks(to, repack.assigned.protocol),
        "protocols": asdict(repack.assigned.said),
        "repacked": [*before.get("repacked", ()), repack.step()],
    }
