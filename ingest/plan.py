"""From a folder to a plan: what is there, which side it stands on, which shard it goes to; no pixel is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from semblance.ingest import dates
from semblance.ingest.detector.door import weights
from semblance.ingest.recipe import Recipe
from semblance.ingest.sources import source
from semblance.ingest.sources.base import SYNTHETIC, Discovery, Source
from semblance.manifests import schema, splits, storage
from semblance.manifests.config import canonical_json, fingerprint
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import SourceFinding, Video, digest
from semblance.shards import plan as shard_plan

_REFERENCE_SIDE: Final = 224  # px: the crop size that ShardConfig.bytes_per_crop speaks of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a build will do, fixed before it starts and independent of who does it."""

    root: str
    source: Source
    recipe: Recipe
    discovery: Discovery
    videos: tuple[Video, ...]  # in the build's order
    inputs: tuple[storage.Stat, ...]  # every file that the plan was made from
    listed: dict[str, tuple[int, ...]]  # sampling.mode "list": indices by video
    protocol: str  # the split that is laid out
    said: splits.ProtocolNotes  # what the protocols promise, lose and lack
    dated: tuple[str, ...]  # where the videos' dates come from
    synthetic: bool  # made by `ingest demo`: said wherever the collection shows

    @property
    def split_facts(self) -> tuple[str, ...]:
        """What to say of the protocol that is laid out, and of the others."""
        return (*self.dated, *self.said.lines(self.protocol))

    @property
    def findings(self) -> tuple[SourceFinding, ...]:
        return self.discovery.findings

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of plan.parquet."""
        return plan_rows(self.videos)

    @property
    def parts(self) -> dict[str, Any]:
        """What the fingerprint covers."""
        return {
            "dataset": self.source.name,
            "schema": schema.VERSION,
            "recipe": self.recipe.model_dump(mode="json"),
            "weights": weights(),
            "inputs": digest(*((stat.path, stat.bytes, stat.version) for stat in self.inputs)),
            "tables": dict(self.discovery.tables),
            "listed": digest(canonical_json(self.listed)) if self.listed else None,
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
        """Side -> its videos, in the build's order."""
        sides: dict[str, list[Video]] = {}
        for video in self.videos:
            sides.setdefault(video.split or "unassigned", []).append(video)
        return sides

    def original_of(self) -> dict[str, Video]:
        """Fake's video_id -> its original: the real of the same family and compression, if it can be decoded."""
        reals = {
            (video.family_id, video.compression): video
            for video in self.videos
            if video.label == 0 and video.fault is None
        }
        found = (
            (video.video_id, reals.get((video.family_id, video.compression)))
            for video in self.videos
            if video.label == 1
        )
        return {video_id: original for video_id, original in found if original is not None}


def make(dataset: str, root: str, recipe: Recipe | None = None) -> Plan:
    """Discover, split and lay out the dataset below ``root``, by the default recipe where none is given.

    Raises SemblanceError where nothing usable is there, UsageError for an unknown dataset, and where packed pictures
    shall be encoded as a video.
    """
    reader = source(dataset)
    recipe = recipe or Recipe()
    if recipe.split.fractions is None:
        split = recipe.split.model_copy(update={"fractions": reader.fractions})
        recipe = recipe.model_copy(update={"split": split})
    files = storage.walk(root)
    if not files and not storage.exists(root):
        raise SemblanceError(f"{root} does not exist; name the folder of the dataset with --root.")
    if not files:
        raise SemblanceError(f"There are no files at {root}; name the folder of the dataset with --root.")
    discovery = reader.discover(root, files, recipe.source)
    if recipe.recompress.crf is not None and (packed := [one.path for one in discovery.videos if one.member]):
        raise UsageError(
            f"recompress.crf encodes whole videos, and {packed[0]} at {root} holds pictures that are none; "
            "leave it out for this dataset."
        )
    videos, dated = dates.dated(_limited(discovery.videos, recipe.limit), root, recipe.temporal)
    nature = splits.DatasetTraits(
        basis=discovery.identity_basis or reader.identity_basis,
        paired=discovery.paired,
        val_from_train=discovery.val_from_train,
    )
    assigned = splits.assign(splits.plan_frame(videos), recipe.split, recipe.seed, nature)
    crops = recipe.sampling.expected()
    table = shard_plan.assign_shards(
        assigned.table,
        recipe.shards,
        dataset=dataset,
        bytes_per_video=crops * recipe.shards.bytes_per_crop * recipe.crop.size**2 // _REFERENCE_SIDE**2,
        seed=recipe.seed,
    )
    planned = tuple(splits.to_videos(table.sort("order")))
    used = {path for video in planned for path in (video.path, video.mask) if path}
    used |= {finding.path for finding in discovery.findings if finding.kind == "metadata"}
    return Plan(
        root=root,
        source=reader,
        recipe=recipe,
        discovery=discovery,
        videos=planned,
        inputs=tuple(stat for stat in files if stat.path in used),
        listed=_listed(recipe.sampling.table, planned),
        protocol=assigned.protocol,
        said=assigned.said,
        dated=dated,
        synthetic=any(stat.path == SYNTHETIC for stat in files),
    )


def _limited(videos: Sequence[Video], limit: int | None) -> Sequence[Video]:
    """The first ``limit`` videos, family by family, originals first."""
    if limit is None:
        return videos
    return sorted(videos, key=lambda video: (video.family_id, video.label or 0, video.video_id))[:limit]


def _listed(table: str | None, videos: Sequence[Video]) -> dict[str, tuple[int, ...]]:
    if table is None:
        return {}
    try:
        with storage.local_copy(table) as path:
            frame = pl.read_parquet(path) if table.endswith(".parquet") else pl.read_csv(path)
        rows = frame.select(pl.col("video_id").cast(pl.String), pl.col("frame_index").cast(pl.Int64))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SemblanceError(
            f"The frame list {table} cannot be read ({error}); give a CSV or Parquet table with the columns "
            "video_id and frame_index."
        ) from error
    grouped = rows.unique().sort("video_id", "frame_index").group_by("video_id", maintain_order=True).agg("frame_index")
    wanted = {video_id: tuple(indices) for video_id, indices in grouped.iter_rows()}
    if unknown := wanted.keys() - {video.video_id for video in videos}:
        raise SemblanceError(
            f"The frame list {table} names {len(unknown)} videos that are not in the plan, the first is "
            f"{min(unknown)}; ids look like {min(video.video_id for video in videos)}."
        )
    return wanted


def plan_rows(videos: Iterable[Video]) -> list[dict[str, Any]]:
    """The rows of plan.parquet."""
    return [{name: getattr(video, name) for name in schema.PLAN.names} for video in videos]
