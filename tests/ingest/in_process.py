"""A build of a plan in this process: the same functions as a cluster runs, one after the other, in a second or two."""

from __future__ import annotations

from collections.abc import Iterator

from semblance.ingest.detector.door import Detector
from semblance.ingest.plan import Plan
from semblance.ingest.process.video import Job, process
from semblance.ingest.run import describe
from semblance.ingest.steps.pairing import Guide
from semblance.manifests.records import Outcome, Video
from semblance.shards import build_folder, write
from semblance.shards.card import card


def outcomes(plan: Plan) -> Iterator[tuple[Video, Outcome]]:
    """Every video of ``plan``, processed; originals come first, so that their fakes find their guides."""
    detector = Detector(plan.recipe.detect)
    originals = plan.original_of()
    guides: dict[str, Guide | None] = {}
    for video in sorted(plan.videos, key=lambda video: video.label == 1):
        original = originals.get(video.video_id)
        job = Job(
            root=plan.root,
            video=video,
            recipe=plan.recipe,
            decoder=plan.recipe.decode.decoder,
            guide=guides.get(original.video_id) if original else None,
            listed=plan.listed.get(video.video_id, ()),
            gives_guide=True,
        )
        result = process(job, detector)
        guides[video.video_id] = result.guide
        yield video, result.outcome


def build(plan: Plan, out: str) -> None:
    """Process, seal and describe ``plan`` at ``out``."""
    found = {video.video_id: outcome for video, outcome in outcomes(plan)}
    build_folder.claim(plan, out)
    for shard, videos in plan.by_shard().items():
        write.seal(
            out,
            shard,
            [found[video.video_id] for video in videos],
            fingerprint=plan.fingerprint,
            seed=plan.recipe.seed,
            picture_extension=plan.recipe.encoding.extension,
        )
    description = describe.describe(plan, out)
    build_folder.finish(out, description, card(description))
