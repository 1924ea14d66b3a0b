"""Interlaced frames made progressive by ffmpeg's bwdif, one for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import av

from semblance.quality.video.damage import damaged


def deinterlaced(frames: Iterable[Any], stream: Any) -> Iterator[Any]:
    """As many frames in the same order and with the same times; those that are not flagged as interlaced unchanged.

    Every second line is computed anew from the frame and its neighbours (``bwdif=send_frame``), so all frames of the
    stream must come, in order. Damaged frames stay as they are, and their neighbours are computed without them.
    """
    graph: Any = None
    shape = None
    waiting: list[tuple[int | None, Any]] = []  # times of the frames inside the graph
    for frame in frames:
        if damaged(frame):
            yield from _emptied(graph, waiting)
            graph, shape = None, None
            yield frame
            continue
        if shape != (now := (frame.width, frame.height, frame.format.name)):  # a stream may change its size
            yield from _emptied(graph, waiting)
            graph, shape = _graph(frame, stream), now
        waiting.append((frame.pts, frame.time_base))
        graph.vpush(frame)
        yield from _ready(graph, waiting)
    yield from _emptied(graph, waiting)


def _graph(frame: Any, stream: Any) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or stream.time_base
    )
    filtered = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    graph.link_nodes(source, filtered, graph.add("buffersink")).configure()
    return graph


def _ready(graph: Any, waiting: list[tuple[int | None, Any]]) -> Iterator[Any]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        frame.pts, frame.time_base = waiting.pop(0)
        yield frame


def _emptied(graph: Any, waiting: list[tuple[int | None, Any]]) -> Iterator[Any]:
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph, waiting)
