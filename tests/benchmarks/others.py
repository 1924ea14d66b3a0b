"""What Semblance is measured against: bare decoding, and the pipeline that a user would write.

Run as ``python -m tests.benchmarks.others decode|pipeline PROCESSES [MIN_FACE FOLDER] < paths``; prints the seconds
from the moment when every process is ready until the last one is done.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import av
import cv2
import numpy as np

EVERY = 10  # frames: what users' scripts commonly sample


def decode_all(path: str) -> None:
    """Every frame, in one thread; nothing is converted."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        for _ in container.decode(stream):
            pass


def _decoder(paths: list[str], ready: Barrier) -> None:
    ready.wait()
    for path in paths:
        decode_all(path)


def _pipeline(paths: list[str], ready: Barrier, min_face: int, folder: str) -> None:
    """facenet-pytorch on every tenth frame, each sure face cut with a margin of 1.3 and written as PNG."""
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    mtcnn = MTCNN(keep_all=True, min_face_size=min_face, device="cpu")
    ready.wait()
    for path in paths:
        with av.open(path) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            for index, frame in enumerate(container.decode(stream)):
                if index % EVERY:
                    continue
                image = frame.to_ndarray(format="rgb24")
                boxes, scores = mtcnn.detect(image)
                for number, (box, score) in enumerate(zip(boxes if boxes is not None else [], scores, strict=False)):
                    if score >= 0.95:
                        name = Path(folder) / f"{Path(path).stem}-{index:06d}-{number:02d}.png"
                        cv2.imwrite(str(name), cv2.cvtColor(_crop(image, box), cv2.COLOR_RGB2BGR))


def _crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    side = 1.3 * max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    height, width = image.shape[:2]
    x0, y0 = int(max(x - side / 2, 0)), int(max(y - side / 2, 0))
    part = image[y0 : int(min(y + side / 2, height)), x0 : int(min(x + side / 2, width))]
    return cv2.resize(part, (224, 224), interpolation=cv2.INTER_AREA)


def main(kind: str, processes: int, *more: str) -> None:
    paths = sys.stdin.read().split("\n")
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes + 1)
    target, extra = (_decoder, ()) if kind == "decode" else (_pipeline, (int(more[0]), more[1]))
    workers = [context.Process(target=target, args=(paths[i::processes], ready, *extra)) for i in range(processes)]
    for worker in workers:
        worker.start()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
