"""The embedders behind their door: alignment against dlib's own, each family, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import dlib
import numpy as np
import polars as pl
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.utils.detect_face import crop_resize

from semblance.manifests import scan
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality.people.embedders import alignment, door
from semblance.quality.people.embedders.alignment import TEMPLATES, Alignment
from semblance.quality.people.vectors import embed

# The y and x of dlib's mean face (51 points from the brows on), as its chips are fitted; its source is the referee for
# the eyes' centres, the nose and the mouth's corners of our template.
MEAN_FACE = Path(__file__).with_name("dlib_mean_face.csv")


def row(landmarks: np.ndarray, side: int = 224) -> dict[str, object]:
    """A samples row whose crop is the frame itself."""
    box = {"box_x0": 40.0, "box_y0": 40.0, "box_x1": side - 40.0, "box_y1": side - 40.0}
    return {
        "sample_id": "x",
        "landmarks": landmarks.reshape(-1).tolist(),
        "crop_x0": 0,
        "crop_y0": 0,
        "crop_side": side,
    } | box


def test_the_template_is_dlibs() -> None:
    """dlib fits the mean face without turning or scaling it, and five of its points are our template."""
    mean = np.loadtxt(MEAN_FACE, delimiter=",")
    size = 100_000
    points = [dlib.point(0, 0)] * 17 + [dlib.point(*map(round, point)) for point in mean * size]
    found = dlib.get_face_chip_details(dlib.full_object_detection(dlib.rectangle(0, 0, size, size), points), 150, 0.25)
    assert abs(found.angle) < 1e-6
    assert np.allclose(
        [found.rect.left(), found.rect.top(), found.rect.right(), found.rect.bottom()],
        [-25_000, -25_000, 125_000, 125_000],
        atol=2,
    )
    five = np.array([mean[19:25].mean(0), mean[25:31].mean(0), mean[13], mean[31], mean[37]])
    assert np.allclose(TEMPLATES["dlib"], (five + 0.25) / 1.5, atol=1e-5)


def test_a_chip_shows_the_landmarks_at_the_template() -> None:
    """A face drawn as five dots, turned and scaled: the dots end on the template, to half a pixel."""
    points = (TEMPLATES["dlib"] - 0.5) @ np.array([[0.8, 0.3], [-0.3, 0.8]]) * 150 + 112
    picture = np.zeros((224, 224, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (round(x * 16 - 8), round(y * 16 - 8)), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    chip = alignment.chip(picture, row(points), {}, Alignment(side=150, points=TEMPLATES["dlib"], name="dlib"))
    assert chip.shape == (150, 150, 3)
    grey = chip[..., 0].astype(float)
    ys, xs = np.mgrid[0:150, 0:150] + 0.5
    for x, y in TEMPLATES["dlib"] * 150:
        near = grey * (np.hypot(xs - x, ys - y) < 12)
        assert abs((near * xs).sum() / near.sum() - x) < 0.5
        assert abs((near * ys).sum() / near.sum() - y) < 0.5


def test_an_aligned_crop_gives_the_same_chip_as_a_box_crop() -> None:
    rng = np.random.default_rng(0)
    frame = np.asarray(cv2.GaussianBlur(rng.integers(0, 256, (224, 224, 3), np.uint8), (0, 0), 4), np.uint8)
    points = (TEMPLATES["arcface"] - 0.5) * 100 + 112
    fit = alignment.similarity(points, ((TEMPLATES["arcface"] - 0.5) / 1.3 + 0.5) * 224)
    fit[:, 2] += fit[:, :2] @ (0.5, 0.5) - 0.5
    drawn = cv2.warpAffine(frame, fit, (224, 224), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    to = Alignment(side=112, points=TEMPLATES["arcface"], name="arcface")
    box = alignment.chip(frame, row(points), {"kind": "box", "margin": 1.3}, to)
    aligned = alignment.chip(np.asarray(drawn, np.uint8), row(points), {"kind": "aligned", "margin": 1.3}, to)
    assert np.abs(box.astype(int) - aligned.astype(int)).mean() < 1.5


def test_a_box_is_cut_as_facenet_pytorch_cuts_it() -> None:
    rng = np.random.default_rng(1)
    frame = np.asarray(cv2.GaussianBlur(rng.integers(0, 256, (224, 224, 3), np.uint8), (0, 0), 3), np.uint8)
    face = row(TEMPLATES["arcface"] * 224) | {"box_x0": 30.0, "box_y0": 22.0, "box_x1": 150.0, "box_y1": 202.0}
    chip = alignment.chip(frame, face, {}, Alignment(side=160, points=None, name="box"))
    referee = crop_resize(frame, [30, 22, 150, 202], 160)
    assert np.abs(chip.astype(int) - referee.astype(int)).mean() < 1.5


def test_dlib_is_its_package_and_deterministic() -> None:
    embedder = door.load("dlib")
    assert embedder.weights["file"] == "dlib_face_recognition_resnet_model_v1.dat"
    assert embedder.weights["licence"] == "CC0 1.0"
    chips = np.random.default_rng(0).integers(0, 256, (3, 150, 150, 3), np.uint8)
    first = embedder.embed(chips)
    assert first.shape == (3, 128)
    assert np.array_equal(first, embedder.embed(chips))
    assert np.allclose(embedder.embed(chips[1:2]), first[1:2], atol=1e-5)


def test_facenet_takes_a_local_file(tmp_path: Path) -> None:
    """Random weights: the door loads them with or without the classifier's head, and gives unit vectors."""
    torch.manual_seed(0)
    state = InceptionResnetV1().state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save(
        {key: value for key, value in state.items() if not key.startswith("logits.")}
        | {"logits.weight": torch.zeros(9, 512), "logits.bias": torch.zeros(9)},
        tmp_path / "b.pt",
    )
    chips = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), np.uint8)
    found = [door.load(str(tmp_path / name)).embed(chips) for name in ("a.pt", "b.pt", "a.pt")]
    assert found[0].shape == (2, 512)
    assert np.allclose(np.linalg.norm(found[0], axis=1), 1, atol=1e-5)
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[0], found[1])


@pytest.fixture(scope="module")
def means(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The mean of each channel, which tells what was given: files of any batch, and of two as some networks have."""
    import openvino
    from openvino import opset13 as ops

    folder = tmp_path_factory.mktemp("networks")
    files = {}
    for name, shape in (("any", [-1, 3, 112, 112]), ("two", [2, 3, 112, 112]), ("nhwc", [-1, 112, 112, 3])):
        given = ops.parameter(shape, np.float32)
        axes = np.array([1, 2] if name == "nhwc" else [2, 3], np.int64)
        files[name] = folder / f"{name}.xml"
        openvino.save_model(
            openvino.Model([ops.reduce_mean(given, axes)], [given]), str(files[name]), compress_to_fp16=False
        )
    return files


@pytest.mark.parametrize("name", ["any", "two", "nhwc"])
def test_any_network_gets_what_its_file_states(means: dict[str, Path], tmp_path: Path, name: str) -> None:
    chips = np.zeros((3, 112, 112, 3), np.uint8)
    chips[...] = [[[[200, 100, 50]]], [[[10, 20, 30]]], [[[0, 0, 255]]]]
    rgb = door.load(str(means[name]), "arcface")
    assert np.allclose(rgb.embed(chips), (chips[:, 0, 0] - 127.5) / 127.5, atol=1e-3)
    assert rgb.alignment.points is not None
    own = tmp_path / "own.yaml"
    own.write_text(
        "template: [[38, 52], [74, 52], [56, 72], [42, 92], [70, 92]]\nsize: 112\nchannels: bgr\nmean: 0\nscale: 255\n"
        "licence: mine\ndistances: {linkage: 0.5, attach: 0.5, quarantine: 0.4, raw: 0.4}\n"
    )
    bgr = door.load(str(means[name]), str(own))
    assert np.allclose(bgr.embed(chips), chips[:, 0, 0, ::-1] / 255, atol=1e-3)
    assert bgr.weights["licence"] == "mine"
    assert bgr.distances is not None
    assert bgr.distances.quarantine == 0.4
    assert bgr.alignment.points is not None
    assert np.allclose(bgr.alignment.points[0], [38 / 112, 52 / 112])


def test_any_number_of_processes_gives_the_same_vectors(means: dict[str, Path], built: Path) -> None:
    """The mean colours of the demo's faces: one vector a person, of crops spread over the video."""
    load = partial(door.load, str(means["any"]), "arcface")
    found = [embed([str(built)], load, 3, workers) for workers in (1, 2)]
    assert found[0].rows.equals(found[1].rows)
    assert np.array_equal(found[0].vector_ND, found[1].vector_ND)
    assert np.array_equal(found[0].halves_N2D, found[1].halves_N2D)
    rows = found[0].rows
    kept = scan(str(built)).filter(
        (pl.col("label") == 0) & (pl.col("verdict") == "keep") & pl.col("person").is_not_null()
    )
    counted = kept.group_by("video_id", "person").len("seen").collect()
    joined = rows.join(counted, on=["video_id", "person"], how="full", coalesce=True)
    assert (joined["crops"] == joined["seen"].clip(upper_bound=3)).all()
    assert (found[0].unaligned, found[0].unreadable) == (0, 0)


def test_what_is_no_embedder_is_refused(means: dict[str, Path], tmp_path: Path) -> None:
    wrong = {name: tmp_path / name for name in ("a.dat", "a.pt", "a.onnx", "a.yaml", "b.yaml", "c.yaml")}
    for file in wrong.values():
        file.write_bytes(b"no network")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "b.pt")
    wrong["b.yaml"].write_text("template: arcface\nsize: 112\nside: 3\n")
    wrong["c.yaml"].write_text("template: arcface\nsize: 64\n")
    some = str(means["two"])
    for weights, network, error, said in (
        ("arcface", None, UsageError, "Unknown weights 'arcface'; choose `dlib`"),
        (str(tmp_path / "none.dat"), None, SemblanceError, "do not exist"),
        (str(tmp_path / "none.onnx"), "arcface", SemblanceError, "do not exist"),
        (str(wrong["a.dat"]), None, SemblanceError, "is not dlib's face recognition network"),
        (str(wrong["a.pt"]), None, SemblanceError, "does not hold the weights of InceptionResnetV1"),
        (str(tmp_path / "b.pt"), None, SemblanceError, "does not hold the weights of InceptionResnetV1"),
        (str(wrong["a.onnx"]), "arcface", SemblanceError, "cannot be run"),
        (some, None, UsageError, "State the network's alignment with --network"),
        (some, str(wrong["a.yaml"]), UsageError, "must be a mapping"),
        (some, str(wrong["b.yaml"]), UsageError, "unknown key 'side'"),
        (some, str(tmp_path / "none.yaml"), UsageError, "neither arcface, facenet nor a YAML file"),
        ("dlib", "arcface", UsageError, "has its own alignment"),
    ):
        with pytest.raises(error, match=r"[.]$") as caught:
            door.load(weights, network)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(SemblanceError, match=r"not installed; .*pip install 'semblance\[people\]'"):
        door.load("dlib")


_SIGNALLED = """
import signal, sys
from semblance.quality.people.embedders import door

kept = [door.load(name, "arcface") for name in sys.argv[1:]]
kept = [*kept[1:], door.load(sys.argv[1], "arcface")]  # the first goes, others stay
del kept
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
for _ in range(20):
    signal.raise_signal(signal.SIGUSR1)
print(len(seen))
"""


def test_a_signal_after_several_networks_ends_nothing(means: dict[str, Path]) -> None:
    """OpenVINO gives the thread another signal stack, and frees it with its Core."""
    command = [sys.executable, "-c", _SIGNALLED, *(str(means[name]) for name in ("any", "two", "nhwc"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "20\n"), done.stderr
