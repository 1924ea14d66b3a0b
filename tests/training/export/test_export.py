"""Exported files answer as the run does, at any batch size, in the software that they are for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import openvino_core
from semblance.training import models
from semblance.training.cli import app
from semblance.training.ensemble import fit
from semblance.training.export import FORMATS, export, graph, run
from semblance.training.export.onnx import read as onnx_reader
from semblance.training.export.registry import Format
from semblance.training.inference import predictor
from semblance.training.inference.member import batches
from semblance.training.inference.predictor import Predictor
from tests.training.export import runs

GRAPHS = ("onnx", "openvino", "torchscript")
pytestmark = [
    # lightning 2.6 and torch 2.15's exporter ask for trees in a way that this deprecates
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def made(ffpp: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {kind: runs.make(folder / kind, ffpp, kind) for kind in runs.KINDS}


@pytest.fixture(scope="module")
def ensemble(ffpp: Path, made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("ensembles") / "all"
    fit.combine([str(ffpp)], [str(made["f3net"]), str(made["mirrored"])], to, say=lambda _: None)
    return to


def test_an_ensemble_with_f3net_is_one_file_in_every_format(ensemble: Path, tmp_path: Path) -> None:
    """Two sizes, a mirrored member, spectral norms (which OpenVINO refused), weights and a temperature."""
    one = predictor.load(ensemble)
    one = replace(one, frame_temperature=1.7)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 1 + int(rng.uniform(20, 255)), (64, 64, 3), np.uint8) for _ in range(3)]
    wanted = one.logits(images)
    assert wanted.std() > 0.01
    for name in GRAPHS:
        kind = FORMATS[name]
        done = export(one, name, str(tmp_path / f"all{kind.suffix}"))
        assert done.pictures == run.CROPS
        assert done.difference <= 1e-4 * 10
        pictures = {size: torch.cat(list(batches(images, size))).mul(255).byte().numpy() for size in (32, 48)}
        found = kind.read(tmp_path / f"all{kind.suffix}", one)(pictures)
        np.testing.assert_allclose(found, wanted, atol=1e-3)
        described = json.loads((tmp_path / f"all{kind.suffix}.json").read_text())
        assert described["checked"]["largest_difference_of_a_logit"] == done.difference
        assert set(described["input"]) == {"image_32", "image_48"} == set(graph.inputs(one))
        assert described["input"]["image_48"]["shape"] == ["batch", 3, 48, 48]
        assert described["temperature"]["frame"] == 1.7
        assert [member["mirror"] for member in described["members"]] == [False, True]
    probabilities(tmp_path, pictures, wanted / 1.7)


def probabilities(folder: Path, pictures: dict[int, np.ndarray], scaled: np.ndarray) -> None:
    """The second output, by each runtime with its own names, without this package."""
    import onnxruntime

    fed = {f"image_{size}": value for size, value in pictures.items()}
    session = onnxruntime.InferenceSession(str(folder / "all.onnx"), providers=["CPUExecutionProvider"])
    assert [one.shape for one in session.get_inputs()] == [["batch", 3, 32, 32], ["batch", 3, 48, 48]]
    expected = 1 / (1 + np.exp(-scaled))
    np.testing.assert_allclose(session.run(["probability"], fed)[0], expected, atol=1e-4)
    core = openvino_core.core()
    compiled = core.compile_model(core.read_model(str(folder / "all.xml")), "CPU", openvino_core.CPU)
    np.testing.assert_allclose(compiled(fed)["probability"], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["resnet", "efficientnet"])
def test_timm_loads_its_file(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    one = predictor.load(made[kind])
    file = tmp_path / "model.safetensors"
    export(one, "timm", str(file))
    described = json.loads((tmp_path / "model.safetensors.json").read_text())
    normalisation = described["input"]["image"]["normalisation"]
    mean, std = (torch.tensor(normalisation[name])[:, None, None] for name in ("mean", "std"))
    arch = described["members"][0]["model"]["arch"]
    theirs = timm.create_model(arch, num_classes=1, checkpoint_path=str(file)).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        ours = one.members[0].trained.model(image).logit_B
        assert torch.allclose(theirs((image - mean) / std).squeeze(1), ours, atol=1e-5)


@pytest.mark.parametrize("kind", ["resnet", "efficientnet", "f3net"])
def test_safetensors_fill_a_model(made: dict[str, Path], kind: str, tmp_path: Path) -> None:
    """Of F3-Net too, whose two streams no file of a backbone could fill."""
    file = tmp_path / "model.safetensors"
    export(predictor.load(made[kind]), "safetensors", str(file))
    config = predictor.load(made[kind]).members[0].trained.recipe.model
    filled = models.build(config.model_copy(update={"pretrained": str(file)}))
    original = predictor.load(made[kind]).members[0].trained.model.state_dict()
    assert all(torch.equal(value, original[name]) for name, value in filled.state_dict().items())
    assert filled.origin.startswith(f"{len(original)} of {len(original)} tensors from {file}")


def test_what_differs_is_not_written(made: dict[str, Path], tmp_path: Path) -> None:
    one, true = predictor.load(made["resnet"]), FORMATS["torchscript"]

    def write(other: Predictor, file: Path) -> None:
        true.write(replace(other, weights=(1.01,)), file)

    wrong = Format(suffix=".pt", write=write, read=true.read, answers="score")
    with FORMATS.added("wrong", wrong), pytest.raises(SemblanceError, match="so it was not written"):
        export(one, "wrong", str(tmp_path / "to" / "model.pt"))
    assert not (tmp_path / "to").exists()


def test_the_command(made: dict[str, Path], ensemble: Path, ffpp: Path, tmp_path: Path) -> None:
    resnet = str(made["resnet"])
    done = CliRunner().invoke(app, ["export", resnet, "--format", "onnx", "--thresholds", "--data", str(ffpp)])
    assert done.exit_code == 0, done.output
    note, *files = done.output.splitlines()[:3]
    assert note == "resnet: its thresholds are chosen without fakes of FaceSwap, which it was not trained on."
    assert files == [f"{resnet}/export/model.onnx", f"{resnet}/export/model.onnx.json"]
    described = json.loads((made["resnet"] / "export" / "model.onnx.json").read_text())
    assert described["threshold_from"].startswith("val")
    assert set(described["threshold"]) == {"frame", "video"}
    ask = onnx_reader(made["resnet"] / "export" / "model.onnx", predictor.load(resnet))
    assert ask({32: np.zeros((1, 3, 32, 32), np.uint8)}).shape == (1,)
    for words, code, sentence in (
        ([resnet, "--format", "caffe"], 2, "Unknown format 'caffe'; --format accepts onnx, openvino"),
        ([resnet, "--format", "onnx", "--to", "model.pt"], 2, "must end in .onnx for --format onnx"),
        ([str(made["f3net"]), "--format", "timm"], 2, "timm has no model like f3net"),
        ([str(ensemble), "--format", "timm"], 2, "is an ensemble, but a file for timm holds the weights of one model"),
        ([str(ensemble), "--format", "safetensors"], 2, "export its member runs"),
        ([str(tmp_path), "--format", "onnx"], 2, "is not a trained run"),
        ([resnet, "--format", "onnx", "--data", str(tmp_path / "absent")], 1, "absent"),
    ):
        done = CliRunner().invoke(app, ["export", *words])
        assert done.exit_code == code, done.output
        assert sentence in done.output
        assert done.output.count("\n") == 1


def test_without_crops_nothing_is_exported(made: dict[str, Path], tmp_path: Path) -> None:
    one = predictor.load(made["resnet"])
    for member in one.members:
        for record in member.trained.datasets:
            record["out"] = str(tmp_path / "gone")
    with pytest.raises(SemblanceError, match="name a build with --data"):
        export(one, "torchscript", str(tmp_path / "model.pt"))


def test_onnx_says_what_it_needs(made: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"needs the package 'onnxscript'; .*semblance\[export\]"):
        export(predictor.load(made["resnet"]), "onnx")


def test_folding_leaves_the_model_as_it_was(made: dict[str, Path]) -> None:
    model = predictor.load(made["f3net"]).members[0].trained.model
    before = list(model.state_dict())
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(graph.folded(model)(image).logit_B, model(image).logit_B, atol=1e-5)
    assert list(model.state_dict()) == before
