"""Write a repacked build, shard by shard, and resume after an interruption."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from semblance.manifests import build_files, persons, schema, storage
from semblance.manifests.records import SPLIT_COLUMNS, Outcome
from semblance.shards import build_folder, card, lock
from semblance.shards.layout import Receipt, key_of
from semblance.shards.repack.plan import Repack
from semblance.shards.repack.restore import read_back
from semblance.shards.write import is_done, seal

Watch = Callable[[Receipt, int, int], None]  # the receipt of a sealed shard, finished shards, all shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Repacked:
    """The result of repacking; ``worked``: the number of shards written by this run."""

    description: dict[str, Any]  # dataset.json
    worked: int


def run(repack: Repack, to: str, watch: Watch = lambda *_: None) -> Repacked:
    """Write ``repack`` to ``to``, resuming an interrupted run of the same request.

    Raises SemblanceError for everything that the user can fix; committed shards stay committed.
    """
    build_folder.refuse_inside(repack.out, to)
    build_folder.belongs(repack, to, flag="--to")
    shards: dict[str, list[dict[str, Any]]] = {}
    for row in repack.rows:
        shards.setdefault(row["shard"], []).append(row)
    pending = [shard for shard in shards if not is_done(to, key_of(shard), repack.fingerprint, thorough=False)]
    description = build_files.read(to)
    if not pending and description is not None:
        return Repacked(description=description, worked=0)
    with lock.held(to) as lease:
        build_folder.claim(repack, to, flag="--to")
        _seal_all(repack, to, shards, pending, lease, watch)
        _copy_flags(repack.out, to)
        _copy_persons(repack, to)
        description = _describe(repack, to)
        build_folder.finish(to, description, card.card(description))
    return Repacked(description=description, worked=len(pending))


def _seal_all(
    repack: Repack,
    to: str,
    shards: Mapping[str, list[dict[str, Any]]],
    pending: Sequence[str],
    lease: lock.Lease,
    watch: Watch,
) -> None:
    for number, shard in enumerate(pending):
        lease.check()
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
    """The outcomes of a new shard's videos, in its order, with their new splits."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        wanted[repack.homes[row["video_id"]]].add(row["video_id"])
    outcomes: dict[str, Outcome] = {}
    extension = repack.description["recipe"]["encoding"]["format"]
    for key in sorted(wanted):
        outcomes |= read_back(repack.out, repack.receipts[key], wanted[key], repack.request.keep, extension)
    return [_moved(outcomes[row["video_id"]], row) for row in rows]


def _moved(outcome: Outcome, planned: Mapping[str, Any]) -> Outcome:
    """The outcome with the splits of ``planned``, its row in the new plan."""
    splits = {name: planned[name] for name in SPLIT_COLUMNS}
    named = {"persons_estimated": planned["persons_estimated"]}
    return Outcome(
        video=dict(outcome.video) | splits | named,
        samples=tuple(replace(sample, row=dict(sample.row) | splits) for sample in outcome.samples),
        rejections=tuple(replace(rejection, row=dict(rejection.row) | splits) for rejection in outcome.rejections),
    )


def _copy_flags(out: str, to: str) -> None:
    """Copy the flags of the build, which are valid for the repacked build too."""
    for name in storage.list_names(storage.join(out, "manifests", "flags")):
        data = storage.read_bytes(storage.join(out, "manifests", "flags", name))
        storage.write_bytes(storage.join(to, "manifests", "flags", name), data)


def _copy_persons(repack: Repack, to: str) -> None:
    """Copy the table of estimated persons, which the audit judges by: that of the request, else the build's own."""
    own = persons.url_of(repack.out)
    url = repack.request.persons or own
    if url != own or storage.exists(own):
        storage.write_bytes(persons.url_of(to), storage.read_bytes(url))


def _describe(repack: Repack, to: str) -> dict[str, Any]:
    """The content of dataset.json: that of the build with the changed keys."""
    before = dict(repack.description)
    return before | {
        "fingerprint": repack.fingerprint,
        "split": repack.assigned.protocol,
        "versions": before["versions"] | {"schema": str(schema.VERSION)},  # the version of the tables written here
        "recipe": before["recipe"] | {"split": repack.config.model_dump(mode="json")},
        "counts": card.counts(to, masks=before["recipe"]["masks"]),
        "leaks": card.found_leaks(to, repack.assigned.protocol, repack.config.against),
        "protocols": asdict(repack.assigned.notes),
        "repacked": [*before.get("repacked", ()), repack.step()],
    }
