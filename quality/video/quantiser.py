"""How coarsely the encoder stored a frame: its quantisation parameters, as FFmpeg exports them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from semblance.quality.video.geometry import side_data

EXPORT: Final = {"export_side_data": "venc_params"}  # options of the decoder
_DELTA: Final = 4  # place of delta_qp among the 32 bit integers of AVVideoBlockParams


def quantiser(frame: Any) -> tuple[float | None, float | None]:
    """Mean and standard deviation of QP over the frame's blocks, in its codec's scale: 0 to 51 for 8 bit H.264.

    None, None where the codec does not export them (HEVC and AV1 do not) or the decoder was not asked to.
    """
    data = side_data(frame, "VIDEO_ENC_PARAMS")
    if data is None or not data.nb_blocks:
        return None, None
    start, count, size = data.blocks_offset, data.nb_blocks, data.block_size
    blocks = np.frombuffer(data, np.uint8)[start : start + count * size].reshape(count, size)
    deltas = np.ascontiguousarray(blocks[:, 4 * _DELTA : 4 * _DELTA + 4]).view(np.int32)
    return float(data.qp + deltas.mean()), float(deltas.std())
