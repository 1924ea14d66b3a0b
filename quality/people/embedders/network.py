"""Any face recognition network in an ONNX, OpenVINO or TensorFlow Lite file, with its alignment stated in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field

from semblance.manifests.config import Config, parse
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import openvino_core
from semblance.quality.people.embedders.alignment import TEMPLATES, Alignment
from semblance.quality.people.embedders.door import Distances, Embedder, Floats, described

Point = tuple[float, float]


class NetworkConfig(Config):
    """How a network takes a face: pixel value v becomes (v - ``mean``) / ``scale``.

    ``template``: arcface, dlib, ``box`` (the face's box, stretched), or five points in px of a chip of ``size`` px:
    left eye, right eye, nose, left and right mouth corner. ``distances``: needed unless the collection calibrates.
    """

    template: Literal["arcface", "dlib", "box"] | tuple[Point, Point, Point, Point, Point]
    size: int = Field(ge=16, le=1024)
    channels: Literal["rgb", "bgr"] = "rgb"
    mean: float = 127.5
    scale: float = Field(default=127.5, gt=0)
    licence: str = "not stated"
    distances: Distances | None = None


NAMED: Final = {
    "arcface": NetworkConfig(template="arcface", size=112),
    "facenet": NetworkConfig(template="box", size=160, scale=128.0),
}


def load(file: Path, network: str | None) -> Embedder:
    """The network in ``file``; ``network`` is one of ``NAMED`` or a YAML file of ``NetworkConfig``.

    Raises UsageError if the alignment is not stated, SemblanceError if the file is not such a network.
    """
    config = _config(network)
    run = _compiled(file, config)
    points = None if config.template == "box" else _points(config)
    name = config.template if isinstance(config.template, str) else "own points"
    return Embedder(
        name=file.stem,
        weights=described(file, config.licence),
        alignment=Alignment(side=config.size, points=points, name=f"{name} {config.size}"),
        distances=config.distances,
        embed=run,
    )


def _points(config: NetworkConfig) -> NDArray[np.float64]:
    if isinstance(config.template, str):
        return TEMPLATES["arcface" if config.template == "arcface" else "dlib"]
    return np.array(config.template, np.float64) / config.size


def _config(network: str | None) -> NetworkConfig:
    if network is None:
        raise UsageError(f"State the network's alignment with --network: {', '.join(NAMED)}, or a YAML file.")
    if network in NAMED:
        return NAMED[network]
    try:
        values = yaml.safe_load(Path(network).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--network {network} is neither {', '.join(NAMED)} nor a YAML file ({reason}).") from error
    if not isinstance(values, dict):
        raise UsageError(f"--network {network} must be a mapping of keys to values.")
    return parse(NetworkConfig, values, network)


def _compiled(file: Path, config: NetworkConfig) -> Any:
    """The network as a function of chips; a network of a fixed batch gets the last face again to fill it."""
    core = openvino_core.core()
    try:
        model = core.read_model(str(file))
        shape = model.inputs[0].partial_shape
        channels = [place for place in (1, 3) if shape.rank.get_length() == 4 and shape[place] == 3]
        if len(model.inputs) != 1 or len(channels) != 1:
            raise SemblanceError(f"{file} has no single picture of three channels as its input; give another network.")
        first = channels[0] == 1
        batch = shape[0].get_length() if shape[0].is_static else 1
        side = config.size
        model.reshape([batch, 3, side, side] if first else [batch, side, side, 3])
        request = core.compile_model(model, "CPU", openvino_core.CPU).create_infer_request()
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1].strip()
        raise SemblanceError(
            f"{file} cannot be run on faces of {config.size} px ({reason}); check the file and `size` of --network."
        ) from error

    def run(chips_BHWC: NDArray[np.uint8]) -> Floats:
        pixels = chips_BHWC if config.channels == "rgb" else chips_BHWC[..., ::-1]
        values = (pixels.astype(np.float32) - np.float32(config.mean)) / np.float32(config.scale)
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2) if first else values)
        found = []
        for start in range(0, len(values), batch):
            part = values[start : start + batch]
            filled = np.concatenate([part, *[part[-1:]] * (batch - len(part))])
            request.infer({0: filled})
            answer = np.array(request.get_output_tensor(0).data, np.float32)
            found.append(answer.reshape(batch, -1)[: len(part)])
        return np.concatenate(found)

    return run
