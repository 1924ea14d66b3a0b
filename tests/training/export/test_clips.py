"""A clip model as a file: whole clips in, one logit of each out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from semblance.manifests.errors import UsageError
from semblance.training.ensemble import fit
from semblance.training.export import FORMATS, export
from semblance.training.inference import predictor
from tests.training import clip_runs, untrained

T = 3
pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def made(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    frame = untrained.make(folder / "frame", [ffpp], gain=9)
    kinds = {"attention": (), "transformer": ("tta=mirror",)}
    return {"frame": frame} | {
        pooling: clip_runs.make(folder / pooling, frame, f"model.pooling={pooling}", *more, length=T)
        for pooling, more in kinds.items()
    }


@pytest.mark.parametrize(
    ("pooling", "name"),
    [("attention", "onnx"), ("transformer", "onnx"), ("transformer", "openvino"), ("transformer", "torchscript")],
)
def test_clips_go_in_and_logits_come_out(made: dict[str, Path], name: str, pooling: str, tmp_path: Path) -> None:
    one, kind = predictor.load(made[pooling]), FORMATS[name]
    file = tmp_path / f"model{kind.suffix}"
    done = export(one, name, str(file))
    assert done.difference <= 1e-4 * 10
    clips = torch.randint(0, 256, (4, T, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    model = one.members[0].trained.model
    with torch.inference_mode():
        expected = model(clips.flatten(0, 1) / 255).logit_B
        if pooling == "transformer":
            expected = (expected + model(clips.flip(-1).flatten(0, 1) / 255).logit_B) / 2
    assert expected.std() > 0.01
    np.testing.assert_allclose(kind.read(file, one)({32: clips.numpy()}), expected, atol=1e-3)
    described = json.loads((tmp_path / f"model{kind.suffix}.json").read_text())["input"]["image"]
    assert described["shape"] == ["batch", T, 3, 32, 32]
    assert "in time order" in described["clips"]


def test_what_no_file_can_hold_is_refused(ffpp: Path, made: dict[str, Path], tmp_path: Path) -> None:
    clip = predictor.load(made["attention"])
    for name in ("safetensors", "timm"):
        with pytest.raises(UsageError, match=r"scores clips with two networks, but a .*; export it as onnx"):
            export(clip, name, str(tmp_path / "model.safetensors"))
    fit.combine([str(ffpp)], [str(made["frame"]), str(made["attention"])], tmp_path / "both", say=lambda _: None)
    with pytest.raises(UsageError, match="has members over 1 and 3 pictures, which one file cannot take"):
        export(predictor.load(tmp_path / "both"), "torchscript", str(tmp_path / "both.pt"))
    assert not list(tmp_path.glob("*.safetensors"))
