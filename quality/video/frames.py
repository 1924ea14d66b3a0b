"""The wanted frames of a video, upright, in order, by PyAV or decord."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Final, Literal

import av

from semblance.manifests.records import Frame
from semblance.quality.video import pictures
from semblance.quality.video.container import (
    DecoderName,
    blaming_the_file,
    decoded,
    open_container,
    packets_of,
    video_stream,
)
from semblance.quality.video.damage import Decoder, damaged
from semblance.quality.video.deinterlace import deinterlaced
from semblance.quality.video.fallback import frames_decord
from semblance.quality.video.glances import Glances
from semblance.quality.video.picture import Player

Skip = Literal["none", "nonref", "nonkey"]
# Where more of the frames are wanted, leaving out the others gains less than it costs to know their times.
_SPARSE: Final = 0.5


def frames(
    path: str,
    indices: Sequence[int],
    *,
    decoder: DecoderName,
    skip: Skip = "none",
    deinterlace: bool = False,
    glances: bool = False,
) -> Iterator[Frame]:
    """The wanted frames in order, as a player shows them (H, W, 3) RGB, decoded in one thread from the start.

    Index i is the i-th frame that the decoder outputs, as ``ffmpeg -fps_mode passthrough`` counts. A packet that
    cannot be decoded is skipped; missing and damaged frames are left out. Frames that are neither wanted nor needed by
    a wanted frame are not decoded if that is safe; the pixels are the same. With ``skip`` the codec leaves
    out frames that no other needs (``nonref``) or all but key frames (``nonkey``), and in place of each wanted frame
    comes the one nearest in time that is left, once; PyAV alone can do so, and where a file gives its frames no
    times, all are decoded. With ``deinterlace``, which excludes ``skip``, the missing lines of interlaced frames are
    computed. With ``glances``, PyAV's frames also hold what was seen of the decoded frames between the wanted ones,
    except with ``skip``. A folder is a video of pictures, which come without times. Raises VideoError where the file
    cannot be opened.
    """
    if not indices:
        return
    if pictures.is_folder(path):
        yield from pictures.frames(path, indices)
        return
    if decoder == "decord":
        found = frames_decord(path, indices, deinterlace)
    else:
        found = (
            _frames_pyav(path, indices, deinterlace, glances) if skip == "none" else _frames_near(path, indices, skip)
        )
    with blaming_the_file(), closing(found):
        yield from found


def _frames_pyav(path: str, indices: Sequence[int], deinterlace: bool, glances: bool) -> Generator[Frame, None, None]:
    given = -1
    if len(set(indices)) < _SPARSE * max(indices):
        for frame in _spared(path, indices, Glances() if glances else None):
            yield frame
            given = frame.index
    if rest := [index for index in indices if index > given]:
        yield from _counted(path, rest, deinterlace, Glances() if glances else None, given)


def _spared(path: str, indices: Sequence[int], glances: Glances | None) -> Generator[Frame, None, None]:
    """The wanted frames of an H.264 file, without decoding the other frames that no frame refers to (nal_ref_idc 0,
    ITU-T H.264 7.4.1): a third of the time for x264's default settings.

    Frames are identified by their times. It ends early, perhaps before the first, if these cannot be trusted: another
    codec, times that are missing or twice, interlacing, and whatever looks like damage. Damage in frames that are not
    decoded goes unnoticed.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        times = _times(container, stream) if stream.codec_context.name == "h264" else []
    place = {time: index for index, time in enumerate(times)}
    wanted = {index for index in indices if index < len(times)}
    if not wanted:
        return
    due = sorted({0, *wanted}, reverse=True)  # a file whose first does not come begins within a group of pictures
    decode = set(due)
    came = -1
    with open_container(path) as container:
        stream = video_stream(container)
        player, decoder = Player(stream, times[0], glances), Decoder(stream)
        for packet in packets_of(container, stream):
            needed = packet.size == 0 or place.get(packet.pts) in decode
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            for frame in decoder.decode(packet):
                if damaged(frame):
                    return
                before, came = came, place.get(frame.pts, -1)
                if not before < came <= due[-1] or frame.interlaced_frame:
                    return
                player.see(frame)
                if came == due[-1]:
                    due.pop()
                    if came in wanted:
                        yield player.upright(came, frame)
                    if not due:
                        return


def _counted(
    path: str, indices: Sequence[int], deinterlace: bool, glances: Glances | None = None, given: int = -1
) -> Generator[Frame, None, None]:
    """The wanted frames, by counting the output of a full decode; up to frame ``given`` all was seen before."""
    wanted, last = set(indices), max(indices)
    with open_container(path) as container:
        stream = video_stream(container)
        player = Player(stream, glances=glances)
        found = decoded(container, stream)
        for index, frame in enumerate(deinterlaced(found, stream) if deinterlace else found):
            if index == 0:
                player.start = frame.pts
            if index >= given and not damaged(frame):
                player.see(frame)
                if index == given:
                    player.forget()
                elif index in wanted:
                    yield player.upright(index, frame)
            if index >= last:
                return


def _frames_near(path: str, indices: Sequence[int], skip: Skip) -> Generator[Frame, None, None]:
    with open_container(path) as container:
        times = _times(container, video_stream(container))
    if not times:
        yield from _counted(path, indices, deinterlace=False)
        return
    place = {time: index for index, time in enumerate(times)}
    wanted = iter(sorted({index for index in indices if index < len(times)}))
    target = next(wanted, None)
    given = -1
    last: Any = None
    with open_container(path) as container:
        stream = video_stream(container)
        player = Player(stream, times[0])
        stream.codec_context.skip_frame = skip.upper()
        for frame in decoded(container, stream):
            if damaged(frame) or frame.pts not in place:
                continue
            while target is not None and times[target] <= frame.pts:
                earlier = last is not None and times[target] - last.pts <= frame.pts - times[target]
                nearest = last if earlier else frame
                if place[nearest.pts] > given:
                    given = place[nearest.pts]
                    yield player.upright(given, nearest)
                target = next(wanted, None)
            if target is None:
                return
            last = frame
        if target is not None and last is not None and place[last.pts] > given:
            yield player.upright(place[last.pts], last)


def _times(container: Any, stream: Any) -> list[int]:
    """Sorted times of all frames that are shown, in the stream's unit; none where one has no time or two have one."""
    try:
        found = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
    except (av.error.FFmpegError, OSError):
        return []
    return [] if None in found or len(set(found)) < len(found) else sorted(found)
