"""The only users of PyAV and decord: container metadata, frames, and H.264 encoding."""

from semblance.quality.video.container import DEFAULT_DECODER, DecoderName, available, versions
from semblance.quality.video.encode import recompressed, write_h264
from semblance.quality.video.frames import Skip, frames
from semblance.quality.video.hdr import TRANSFERS as HDR
from semblance.quality.video.probe import Bounds, created, probe

__all__ = [
    "DEFAULT_DECODER",
    "HDR",
    "Bounds",
    "DecoderName",
    "Skip",
    "available",
    "created",
    "frames",
    "probe",
    "recompressed",
    "versions",
    "write_h264",
]
