"""From a folder to a plan: the videos, their splits and their shards; no pixel is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from posixpath import dirname
from typing import Any, Final

from semblance.ingest import dates
from semblance.ingest.detector.door import weights
from semblance.ingest.recipe import Recipe
from semblance.ingest.sources import source
from semblance.ingest.sources.base import SYNTHETIC, Discovery, Source, with_unlisted
from semblance.manifests import persons, schema, splits, storage
from semblance.manifests.config import canonical_json, fingerprint
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.ids import digest
from semblance.manifests.records import SourceFinding, Video
from semblance.manifests.user_tables import read_user_table
from semblance.shards import plan as shard_plan

_REFERENCE_SIDE: Final = 224  # px: the crop size that ShardConfig.bytes_per_crop refers to


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that a build will do, fixed before it starts and independent of workers and machine."""

    root: str
    source: Source
    recipe: Recipe
    discovery: Discovery
    videos: tuple[Video, ...]  # in the build's order
    inputs: tuple[storage.Stat, ...]  # every file that the plan is based on
    listed: dict[str, tuple[int, ...]]  # sampling.mode "list": indices by video
    protocol: str  # the active split
    notes: splits.ProtocolNotes  # what the protocols guarantee, lose and cannot do
    dated: tuple[str, ...]  # where the videos' dates come from
    synthetic: bool  # made by `ingest demo`, and labelled so wherever the collection appears
    estimates: splits.Estimates | None = None  # those of split.persons
    replaced: tuple[storage.Stat, ...] = ()  # inputs as they are now, whose failed videos are processed again

    @property
    def split_facts(self) -> tuple[str, ...]:
        """Sentences about the dates, the active protocol and the others."""
        return (*self.dated, *self.notes.lines(self.protocol))

    @property
    def findings(self) -> tuple[SourceFinding, ...]:
        return self.discovery.findings

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of plan.parquet."""
        return plan_rows(self.videos)

    @property
    def parts(self) -> dict[str, Any]:
        """The values that the fingerprint covers: not the limits, which decide no byte of a video that passed."""
        return {
            "dataset": self.source.name,
            "schema": schema.VERSION,
            "recipe": self.recipe.model_dump(mode="json", exclude={"limits"}),
            "weights": weights(),
            "inputs": digest(*((stat.path, stat.bytes, stat.version) for stat in self.inputs)),
            "tables": dict(self.discovery.tables),
            "listed": digest(canonical_json(self.listed)) if self.listed else None,
            **({"persons": self.estimates.digest} if self.estimates is not None else {}),
        }

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.parts)

    def by_shard(self) -> dict[str, list[Video]]:
        """Shard -> its videos, both in the build's order."""
        shards: dict[str, list[Video]] = {}
        for video in self.videos:
            assert video.shard is not None
            shards.setdefault(video.shard, []).append(video)
        return shards

    def by_split(self) -> dict[str, list[Video]]:
        """Split -> its videos, in the build's order."""
        by_split: dict[str, list[Video]] = {}
        for video in self.videos:
            by_split.setdefault(video.split or "unassigned", []).append(video)
        return by_split

    def original_of(self) -> dict[str, Video]:
        """Fake's video_id -> its original: the real video of the same family and compression, if it is usable."""
        reals = {
            (video.family_id, video.compression): video
            for video in self.videos
            if video.label == 0 and video.fault is None
        }
        return {
            video.video_id: reals[key]
            for video in self.videos
            if video.label == 1 and (key := (video.family_id, video.compression)) in reals
        }


def make(dataset: str, root: str, recipe: Recipe | None = None) -> Plan:
    """Discover the dataset below ``root``, assign splits and shards; ``recipe`` defaults to the default recipe.

    Raises SemblanceError if ``root`` has nothing usable, UsageError for an unknown dataset, and for
    ``recompress.crf`` with a dataset that is packed as pictures.
    """
    reader = source(dataset)
    recipe = recipe or Recipe()
    if recipe.split.fractions is None:
        split = recipe.split.model_copy(update={"fractions": reader.info.fractions})
        recipe = recipe.model_copy(update={"split": split})
    listing = storage.survey(root)
    files = listing.files
    if not files:
        why = f" ({listing.unlisted[0].path}: {listing.unlisted[0].reason})" if listing.unlisted else ""
        what = f"has no files{why}" if storage.exists(root) else "does not exist"
        raise SemblanceError(f"{root} {what}; pass the folder of the dataset with --root.")
    discovery = _discover(reader, root, listing, recipe)
    single = {stat.path for stat in files}
    packed = [video.path for video in discovery.videos if video.member or not (video.path in single or video.fault)]
    if recipe.recompress.crf is not None and packed:
        raise UsageError(
            f"recompress.crf encodes videos, but {packed[0]} at {root} contains pictures; "
            "do not set it for this dataset."
        )
    videos, dated = dates.dated(_limited(discovery.videos, recipe.limit), root, recipe.temporal)
    traits = splits.DatasetTraits(
        basis=discovery.identity_basis or reader.info.identity_basis,
        paired=reader.info.paired,
        val_from_train=reader.info.val_from_train,
    )
    table = recipe.split.persons
    estimates = None if table is None else persons.estimates(persons.read(table))
    assigned = splits.assign(splits.plan_frame(videos), recipe.split, recipe.seed, traits, estimates)
    crops = recipe.sampling.expected()
    placed = shard_plan.assign_shards(
        assigned.table,
        recipe.shards,
        dataset=dataset,
        bytes_per_video=crops * recipe.shards.bytes_per_crop * recipe.crop.size**2 // _REFERENCE_SIDE**2,
        seed=recipe.seed,
    )
    planned = tuple(splits.to_videos(placed.sort("order")))
    used = {path for video in planned for path in (video.path, video.mask) if path}
    used |= {finding.path for finding in discovery.findings if finding.kind == "metadata"}
    return Plan(
        root=root,
        source=reader,
        recipe=recipe,
        discovery=discovery,
        videos=planned,
        inputs=_inputs(files, used),
        listed=_listed(recipe.sampling.table, planned),
        protocol=assigned.protocol,
        notes=assigned.notes,
        dated=dated,
        estimates=estimates,
        synthetic=any(stat.path == SYNTHETIC for stat in files),
    )


def _discover(reader: Source, root: str, listing: storage.Listing, recipe: Recipe) -> Discovery:
    """The discovery with all that was not listed; an error names it too, since the videos may be there."""
    try:
        return with_unlisted(reader.discover(root, listing.files, recipe.source), listing.unlisted)
    except SemblanceError as error:
        if not listing.unlisted:
            raise
        first = listing.unlisted[0]
        raise SemblanceError(
            f"{error} {not_listed(len(listing.unlisted))}, e.g. {first.path}: {first.reason}."
        ) from error


def _inputs(files: Sequence[storage.Stat], used: Collection[str]) -> tuple[storage.Stat, ...]:
    """What the plan is based on; a folder of pictures is one input, which changes with each of its files."""
    inputs = [stat for stat in files if stat.path in used]
    folders: defaultdict[str, list[storage.Stat]] = defaultdict(list)
    for stat in files:
        if (folder := dirname(stat.path)) in used:
            folders[folder].append(stat)
    for folder, within in folders.items():
        version = digest(*((stat.path, stat.bytes, stat.version) for stat in within))
        inputs.append(storage.Stat(path=folder, bytes=sum(stat.bytes for stat in within), version=version))
    return tuple(sorted(inputs, key=lambda stat: stat.path))


def not_listed(count: int) -> str:
    """The count of links and folders that were not read, as a sentence without its full stop."""
    return f"{count} {'link or folder was' if count == 1 else 'links and folders were'} not read"


def _limited(videos: Sequence[Video], limit: int | None) -> Sequence[Video]:
    """The first ``limit`` videos, family by family, originals first."""
    if limit is None:
        return videos
    return sorted(videos, key=lambda video: (video.family_id, video.label or 0, video.video_id))[:limit]


def _listed(table: str | None, videos: Sequence[Video]) -> dict[str, tuple[int, ...]]:
    if table is None:
        return {}
    columns: dict[str, type[str] | type[int]] = {"video_id": str, "frame_index": int}
    rows = read_user_table(table, "The frame list", columns).select(*columns)
    grouped = rows.unique().sort("video_id", "frame_index").group_by("video_id", maintain_order=True).agg("frame_index")
    listed = {video_id: tuple(indices) for video_id, indices in grouped.iter_rows()}
    if unknown := listed.keys() - {video.video_id for video in videos}:
        raise SemblanceError(
            f"The frame list {table} has {len(unknown)} videos that are not in the plan (first: {min(unknown)}); "
            f"use ids such as {min(video.video_id for video in videos)}."
        )
    return listed


def plan_rows(videos: Iterable[Video]) -> list[dict[str, Any]]:
    """The rows of plan.parquet."""
    return [{name: getattr(video, name) for name in schema.PLAN.names} for video in videos]
