"""A recipe that refuses HDR gives such a video the status ``hdr``, and decodes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from semblance.ingest.detector.door import DetectConfig, Detector
from semblance.ingest.process.video import Job, process
from semblance.ingest.recipe import parse
from semblance.manifests.errors import UsageError
from semblance.manifests.records import FAILURES, Video
from tests.quality.video.test_video import ffmpeg


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_hdr_is_refused_where_the_recipe_says_so(tmp_path: Path) -> None:
    tags = "-colorspace bt2020nc -color_primaries bt2020 -color_trc smpte2084 -pix_fmt yuv420p10le"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x64:d=0.2", "-c:v", "libx264", *tags.split(), tmp_path / "hdr.mp4")
    planned = Video(video_id="a", path="hdr.mp4", dataset="folder", family_id="a", label=0, bytes=1)
    rows = {}
    for hdr in ("refuse", "tonemap"):
        recipe = parse({"decode": {"hdr": hdr}}, "test")
        job = Job(root=str(tmp_path), video=planned, recipe=recipe, decoder="pyav")
        rows[hdr] = process(job, Detector(DetectConfig())).outcome.video
    assert rows["refuse"]["status"] == "hdr"
    assert "hdr" in FAILURES
    assert "decode.hdr=refuse" in rows["refuse"]["error"]
    assert rows["refuse"]["colour_transfer"] == "smpte2084"
    assert rows["tonemap"]["status"] == "no_face"


def test_deinterlacing_and_skipping_exclude_each_other() -> None:
    with pytest.raises(UsageError, match=r"decode.deinterlace=true needs decode.skip=none"):
        parse({"decode": {"deinterlace": True, "skip": "nonref"}}, "test")
