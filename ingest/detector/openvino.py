"""The three MTCNN networks on a CPU: modules of facenet-pytorch, converted once by OpenVINO and cached on disk."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from semblance.manifests.config import fingerprint
from semblance.manifests.errors import SemblanceError
from semblance.quality import openvino_core

Name = Literal["pnet", "rnet", "onet"]
Floats = NDArray[np.float32]
# (B, H, W, 3) RGB, 0 to 255 -> the network's outputs in the order of the torch module, valid until its next call
Network = Callable[[NDArray[np.uint8]], tuple[Floats, ...]]
NAMES: Final[tuple[Name, ...]] = ("pnet", "rnet", "onet")
_FORM: Final = 2  # version of the cached networks: pixels in, normalisation inside
_SIDE: Final = {"pnet": 12, "rnet": 24, "onet": 48}  # px of the traced example


def load(weights: dict[str, str]) -> dict[Name, Network]:
    """The three networks, ready to run; converted first if they are not in the cache.

    ``weights`` is the SHA-256 of each network's weight file. If the networks are cached, neither torch nor
    facenet-pytorch is loaded. Raises SemblanceError if the conversion fails.
    """
    folder = prepare(weights)
    return {
        name: _runner(openvino_core.core().compile_model(str(folder / f"{name}.xml"), "CPU", openvino_core.CPU))
        for name in NAMES
    }


def prepare(weights: dict[str, str]) -> Path:
    """The folder of the converted networks; if it is missing, it is written, which takes some 15 s."""
    version = importlib.metadata.version("openvino")
    folder = cache() / fingerprint({"weights": weights, "openvino": version, "form": _FORM})[:16]
    if not all((folder / f"{name}.xml").is_file() for name in NAMES):
        _convert_elsewhere(folder)
    return folder


def cache() -> Path:
    """The cache of converted networks: SEMBLANCE_CACHE, or a folder in the user's cache."""
    if named := os.environ.get("SEMBLANCE_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "semblance"


def convert(folder: Path) -> None:
    """Write the three networks to ``folder``, which appears complete or not at all."""
    openvino_core.without_telemetry()
    import openvino
    import torch
    from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as draft:
        complete = Path(draft) / "complete"
        complete.mkdir()
        for name, module in (("pnet", PNet), ("rnet", RNet), ("onet", ONet)):
            example = torch.zeros(2, 3, _SIDE[name], _SIDE[name])
            with warnings.catch_warnings():
                # openvino 2026.4 traces with torch.jit.trace, which torch 2.15 calls deprecated
                warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit")
                warnings.filterwarnings("ignore", message=".*torch.jit.*")
                converted = openvino.convert_model(module().eval(), example_input=example)
            side = -1 if name == "pnet" else _SIDE[name]
            converted.reshape([1 if name == "pnet" else -1, 3, side, side])
            openvino.save_model(_with_normalisation(converted), str(complete / f"{name}.xml"), compress_to_fp16=False)
        try:
            complete.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise


def _with_normalisation(model: Any) -> Any:
    """The model with the normalisation of facenet-pytorch, (value - 127.5) / 128, as its first step."""
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    steps.input().model().set_layout(Layout("NCHW"))
    steps.input().preprocess().convert_element_type(Type.f32).mean(127.5).scale(128.0)
    return steps.build()


def _convert_elsewhere(folder: Path) -> None:
    """Convert in a separate process, so that this one never loads torch."""
    done = subprocess.run(
        [sys.executable, "-m", "semblance.ingest.detector.openvino", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SemblanceError(
            f"The MTCNN networks cannot be converted to {folder} ({last}); make the folder writable, or set "
            "SEMBLANCE_CACHE to another one."
        )


def _runner(compiled: Any) -> Network:
    request = compiled.create_infer_request()

    outputs = range(len(compiled.outputs))

    def run(image_BHWC: NDArray[np.uint8]) -> tuple[Floats, ...]:
        request.infer({0: image_BHWC}, share_inputs=True, share_outputs=True)
        return tuple(request.get_output_tensor(place).data for place in outputs)

    return run


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
