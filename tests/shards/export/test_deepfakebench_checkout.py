"""DeepfakeBench's own code over an export, where ``SEMBLANCE_DEEPFAKEBENCH`` names a checkout of it."""

from __future__ import annotations

import importlib
import os
import random
import sys
import types
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from semblance import manifests
from semblance.manifests.ids import make_sample_id
from semblance.manifests.records import Outcome, Sample, Video
from semblance.shards.export import export
from tests.shards import synthetic
from tests.shards.export.test_export import KNOWN, installed, usable, with_folders

CHECKOUT = os.environ.get("SEMBLANCE_DEEPFAKEBENCH")
FRAMES, CLIP = 12, 4
given = pytest.mark.skipif(not CHECKOUT, reason="SEMBLANCE_DEEPFAKEBENCH names no checkout of SCLBD/DeepfakeBench")


def module(name: str) -> Any:
    """A module of the checkout's ``training`` folder, without what the packages above it import.

    Their packages import every dataset and detector, and with them a dozen libraries; these modules need few.
    """
    package, _, _ = name.rpartition(".")
    assert (Path(str(CHECKOUT)) / "training" / f"{name.replace('.', '/')}.py").is_file(), f"{CHECKOUT} is no checkout"
    above = types.ModuleType(f"deepfakebench_{package}")
    above.__path__ = [str(Path(str(CHECKOUT)) / "training" / package)]
    sys.modules[above.__name__] = above
    before = list(sys.path)
    try:
        return importlib.import_module(f"deepfakebench_{name}")
    except ModuleNotFoundError as error:
        pytest.skip(f"DeepfakeBench's {name} needs the module {error.name!r}, which is not installed")
    finally:
        sys.path[:] = before  # theirs appends the working folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine families with a fake each; every third video shows two people, who are both known."""
    out = tmp_path_factory.mktemp("two-people") / "out"
    videos = [
        Video(
            video_id=f"dfdc-{'fake' if fake else 'real'}{family}",
            path=f"{family}-{fake}.mp4",
            dataset="dfdc",
            label=fake,
            method="swap" if fake else "pristine",
            family_id=f"dfdc-real{family}",
            target_id=f"dfdc-real{family}",
            split_official=("train", "val", "test")[family // 3],
        )
        for family in range(9)
        for fake in (0, 1)
    ]
    synthetic.build(out, videos, "split.protocol=official", make=two_people)
    return out


def two_people(row: dict[str, Any]) -> Outcome:
    """Twelve frames; a picture's grey value tells its frame."""
    identity = {name: row[name] for name in ("video_id", "dataset", "label", "method", "family_id", "split")}
    identity |= {"split_official": row["split_official"]}
    people = 2 if int(row["family_id"][-1]) % 3 == 0 else 1
    samples = []
    for frame in range(0, 10 * FRAMES, 10):
        for person in range(people):
            face = identity | {
                "sample_id": make_sample_id(row["video_id"], frame, person),
                "face_label": row["label"],
                "frame_index": frame,
                "time_s": frame / 25,
                "track": person,
                "person": person,
                "landmarks": [20.0] * 10,
                "confidence": 0.9,
                "verdict": "keep",
                "mask": False,
            }
            picture = cv2.imencode(".jpg", np.full((24, 24, 3), frame, np.uint8))[1].tobytes()
            samples.append(Sample(row=face, picture=picture))
    video = {name: value for name, value in row.items() if name in manifests.schema.VIDEOS.names}
    video |= {"status": "ok", "faces_seen": len(samples), "crops_kept": len(samples), "crops_rejected": 0}
    return Outcome(video=video | {"frames_sampled": FRAMES, "frames_failed": 0}, samples=tuple(samples))


@pytest.fixture
def bench(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which their code finds the export, as its README says; it works there."""
    export(str(build), "deepfakebench", str(tmp_path / "export"))
    folder = installed(tmp_path / "export", tmp_path / "bench")
    monkeypatch.chdir(folder)
    state = random.getstate()
    random.seed(7)
    yield folder
    random.setstate(state)


def dataset(mode: str, **changes: Any) -> Any:
    """Their dataset as their training makes it, but for augmentation, which is about pictures and not about reading."""
    base = module("dataset.abstract_dataset").DeepfakeAbstractBaseDataset

    class Unaugmented(base):  # type: ignore[misc, valid-type]
        def init_data_aug_method(self) -> None:
            return None

    config = {
        "compression": "c23",
        "frame_num": {"train": FRAMES, "test": FRAMES},
        "train_dataset": ["dfdc-semblance"],
        "test_dataset": "dfdc-semblance",
        "dataset_json_folder": "./preprocessing/dataset_json",
        "label_dict": KNOWN,
        "resolution": 24,
        "use_data_augmentation": False,
        "with_mask": False,
        "with_landmark": False,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    return Unaugmented(config | changes, mode)


def place(path: str) -> tuple[str, int, int]:
    """Folder, frame and track of a picture."""
    folder, name = path.split("/")[-2:]
    return folder, *divmod(int(name.split(".")[0]), 100)


@given
@pytest.mark.parametrize("mode", ["train", "test"])
def test_it_reads_every_picture_once(build: Path, bench: Path, mode: str) -> None:
    """Number of samples, labels and videos are the manifest's; ``frame_num`` frames span the whole time."""
    rows = with_folders(usable(build).filter(pl.col("split") == mode))
    data = dataset(mode)
    assert len(data) == rows.height == 4 * 2 * FRAMES
    read = [(*place(path), label) for path, label in zip(data.image_list, data.label_list, strict=True)]
    assert sorted(read) == sorted(rows.select("folder", "frame_index", "track", "face_label").iter_rows())
    assert all((bench / path).is_file() for path in data.image_list)
    _, _, names = data.collect_img_and_label_for_one_dataset("dfdc-semblance")
    labels = {0: "DFDC_Real", 1: "DFDC_Fake"}
    wanted = Counter(f"{labels[label]}_{folder}" for folder, label in rows.select("folder", "face_label").iter_rows())
    assert Counter(names) == wanted
    assert set(wanted.values()) == {FRAMES}
    assert len(wanted) == 2 * 4  # three videos a class, one of them with two people
    for index in range(len(data)):
        image, label, _, _ = data[index]
        _, frame, _ = place(data.image_list[index])
        assert image.shape == (3, 24, 24)
        assert label == data.label_list[index]
        assert float(image.mean()) == pytest.approx(frame / 127.5 - 1, abs=0.02)  # no picture stands for another
    for video in wanted:
        frames = {place(path)[1] for path, name in zip(*_in_order(data), strict=True) if name == video}
        assert frames == set(range(0, 10 * FRAMES, 10))


@given
@pytest.mark.parametrize("mode", ["train", "test"])
def test_no_clip_mixes_people(build: Path, bench: Path, mode: str) -> None:
    """Clips of neighbouring frames: as many as the manifest's people give, each of one person in time order."""
    del bench
    rows = with_folders(usable(build).filter(pl.col("split") == mode))
    data = dataset(mode, video_mode=True, clip_size=CLIP)
    people = rows.select("video_id", "person").unique().height
    assert len(data) == people * (FRAMES // CLIP)
    persons = {(row["folder"], row["frame_index"], row["track"]): row["person"] for row in rows.to_dicts()}
    for clip, label in zip(data.image_list, data.label_list, strict=True):
        places = [place(path) for path in clip]
        assert len(places) == CLIP
        assert len({(folder, persons[folder, frame, track]) for folder, frame, track in places}) == 1
        assert [frame for _, frame, _ in places] == list(range(places[0][1], places[0][1] + 10 * CLIP, 10))
        assert label == rows.filter(pl.col("folder") == places[0][0])["face_label"][0]
    image, _, _, _ = data[0]
    assert image.shape == (CLIP, 3, 24, 24)


@given
def test_its_video_figure_is_by_person(build: Path, bench: Path) -> None:
    """Their AUC by video is that of the mean probability of each person: a video of two people counts twice."""
    del bench
    rows = with_folders(usable(build).filter(pl.col("split") == "test")).sort("sample_id")
    chance = np.random.default_rng(3)
    score_N = chance.random(rows.height) + 0.2 * rows["face_label"].to_numpy()
    names = [
        f"./datasets/{folder}/{frame:06d}{track:02d}.jpg"
        for folder, frame, track in rows.select("folder", "frame_index", "track").iter_rows()
    ]
    theirs = module("metrics.utils").get_test_metrics(score_N.copy(), rows["face_label"].to_numpy().copy(), names)
    by_person = (
        rows.with_columns(score=score_N)
        .group_by("video_id", "person")
        .agg(pl.col("score").mean(), pl.col("face_label").first())
    )
    assert by_person.height == 8
    assert rows["video_id"].n_unique() == 6
    assert theirs["video_auc"] == pytest.approx(metrics.roc_auc_score(by_person["face_label"], by_person["score"]))
    assert theirs["auc"] == pytest.approx(metrics.roc_auc_score(rows["face_label"], score_N))


@given
def test_more_frames_than_frame_num_lose_the_end(build: Path, bench: Path) -> None:
    """What docs/deepfakebench.md warns of: beyond ``frame_num`` their code takes the first frames, not every nth."""
    del build, bench
    data = dataset("test", frame_num={"train": FRAMES, "test": FRAMES // 2})
    assert {place(path)[1] for path in data.image_list} == set(range(0, 10 * FRAMES // 2, 10))


def test_albumentations_2_ignores_the_old_names_of_qualities() -> None:
    """What docs/deepfakebench.md says of their JPEG augmentation; should a version understand them, it must change."""
    with pytest.warns(UserWarning, match="quality_lower, quality_upper"):
        theirs = albumentations.ImageCompression(quality_lower=40, quality_upper=100)
    assert theirs.quality_range == (99, 100)
    assert albumentations.ImageCompression(quality_range=(40, 100)).quality_range == (40, 100)


def test_albumentations_2_ignores_the_seeds_of_other_generators() -> None:
    """Why their clips are augmented frame by frame: they seed ``random`` and numpy, a composition has its own."""
    flip = albumentations.Compose([albumentations.HorizontalFlip(p=0.5)], seed=1)
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)

    def flipped(*, own: bool) -> bool:
        random.seed(5)
        np.random.seed(5)
        if own:
            flip.set_random_seed(5)
        return not np.array_equal(flip(image=image)["image"], image)

    assert {flipped(own=False) for _ in range(64)} == {True, False}
    assert len({flipped(own=True) for _ in range(64)}) == 1


def _in_order(data: Any) -> tuple[list[str], list[str]]:
    """The paths of a dataset and the names of their videos, which it keeps for the length of its constructor only."""
    paths, _, names = data.collect_img_and_label_for_one_dataset("dfdc-semblance")
    return paths, names
