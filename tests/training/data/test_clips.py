"""Clips over persons: every picture is covered, in time order, and keeps one row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.training.augment import Draws
from semblance.training.augment.config import AugmentConfig
from semblance.training.data import query, units
from semblance.training.data.loader import Loader
from semblance.training.data.query import Selection
from semblance.training.data.units import ClipConfig, UnitConfig
from semblance.training.data.worker import SampleTransform
from tests.training import builds

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames with a cut after the second, so every person has two tracks; three have fakes with two faces."""
    plan = builds.Plan(families=4, frames=5, cut=10, two_faces=3, splits=("train", "val"))
    return builds.make(tmp_path_factory.mktemp("cut") / "out", plan)


def faces(counts: list[tuple[int, int, int]]) -> pl.DataFrame:
    """Rows of pictures by (video, person, frame), in the given order; a person's track changes every third frame."""
    return pl.DataFrame(
        [
            {"sample_id": f"{v}-{p}-{f}-{i}", "video_id": f"v{v}", "person": p, "track": 10 * p + f // 3}
            | {"frame_index": f}
            for i, (v, p, f) in enumerate(counts)
        ]
    )


@given(
    counts=st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 2), st.integers(0, 40)), min_size=1, max_size=60),
    frames=st.integers(2, 9),
)
def test_clips_cover_every_picture_in_time_order(counts: list[tuple[int, int, int]], frames: int) -> None:
    rows = faces(counts)
    clips = units.cover(rows, frames)
    assert clips["unit"].unique().sort().to_list() == list(range(clips["unit"].n_unique()))
    assert set(clips["sample_id"]) == set(rows["sample_id"])
    for _, clip in clips.group_by("unit"):
        assert clip["member"].to_list() == list(range(frames))
        assert clip.select("video_id", "person").n_unique() == 1
        assert clip["frame_index"].is_sorted()
    for (video, person), own in rows.group_by("video_id", "person"):
        theirs = clips.filter(video_id=video, person=person)
        held = Counter(theirs.select("unit", "sample_id").unique()["sample_id"])
        assert theirs["unit"].n_unique() == -(-own.height // frames)
        assert max(held.values()) <= 2
        assert sum(held.values()) - own.height < frames
        shown = theirs["sample_id"].value_counts()["count"]
        if own.height < frames:  # slower: each about as often
            assert shown.max() - shown.min() <= 1


def test_clips_do_not_depend_on_the_order_of_rows() -> None:
    rows = faces([(v, p, f) for v in range(2) for p in (0, 1) for f in range(7)])
    mixed = rows.sample(fraction=1.0, shuffle=True, seed=1)
    assert units.cover(rows, 3).equals(units.cover(mixed, 3))


def test_short_persons_are_shown_slower() -> None:
    clips = units.cover(faces([(0, 0, 30), (0, 0, 10), (0, 0, 20)]), 8)
    assert clips["frame_index"].to_list() == [10, 10, 10, 20, 20, 20, 30, 30]


@given(
    lengths=st.lists(st.integers(1, 14), min_size=1, max_size=6),
    frames=st.integers(2, 6),
    batch=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_a_picture_has_the_mean_of_its_clips_in_any_order(
    lengths: list[int], frames: int, batch: int, seed: int
) -> None:
    """Against a dictionary of lists; batches of any size, shuffled as ranks and workers do."""
    clips = units.cover(faces([(0, p, f) for p, n in enumerate(lengths) for f in range(n)]), frames)
    by_clip = [part["sample_id"].to_list() for part in clips.partition_by("unit", maintain_order=True)]
    values = np.random.default_rng(seed).normal(size=len(by_clip))
    expected: dict[str, list[float]] = {}
    for names, value in zip(by_clip, values, strict=True):
        for name in set(names):
            expected.setdefault(name, []).append(value)
    order = np.random.default_rng(seed).permutation(len(by_clip))
    tables = []
    for first in range(0, len(order), batch):
        part = order[first : first + batch]
        tables.append(units.of_pictures([name for i in part for name in by_clip[i]], {"logit": values[part]}))
    found = dict(units.mean(pl.concat(tables)).iter_rows())
    assert found == {name: sum(parts) / len(parts) for name, parts in expected.items()}


def covered(out: Path, frames: int) -> tuple[Selection, Selection]:
    selection = query.select([str(out)], "val", unlabelled=True)
    return selection, query.cover(selection, frames)


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_a_selection_is_covered_across_tracks(cut: Path, frames: int) -> None:
    selection, clips = covered(cut, frames)
    assert clips.members == frames
    assert set(clips.pictures["sample_id"]) == set(selection.pictures["sample_id"])
    persons = selection.pictures.group_by("video_id", "person").len()
    assert clips.units.height == sum(-(-count // frames) for count in persons["len"])
    tracks = clips.pictures.group_by("unit").agg(pl.col("track").n_unique())["track"]
    assert (tracks.max() == 2) == (frames > 2)  # of five frames, two before the cut


@pytest.mark.parametrize("workers", [0, 2])
def test_clips_arrive_whole_and_in_order(cut: Path, workers: int) -> None:
    """A picture that a clip repeats, or that two clips hold, is read for each of them."""
    for frames in (3, 8):
        _, clips = covered(cut, frames)
        expected = Counter(
            tuple(part["sample_id"]) for part in clips.pictures.partition_by("unit", maintain_order=True)
        )
        found: Counter[tuple[str, ...]] = Counter()
        for batch in Loader(clips, batch=2, workers=workers):
            names = batch.sample_ids
            found.update(names[i : i + frames] for i in range(0, len(names), frames))
            for place in range(len(names)):
                first = names.index(names[place])
                assert (batch.image_BCHW[place] == batch.image_BCHW[first]).all()
        assert found == expected


def test_training_clips_by_person_cross_cuts(cut: Path) -> None:
    by_track, by_person = (
        query.select([str(cut)], "train", unit=UnitConfig(mode="clips", clip=ClipConfig(frames=3, by=by)))
        for by in ("track", "person")
    )
    for selection, most in ((by_track, 1), (by_person, 2)):
        per_clip = selection.pictures.group_by("unit").agg(
            pl.col("track").n_unique(), pl.col("person").n_unique(), pl.col("frame_index").is_sorted().alias("sorted")
        )
        assert per_clip["track"].max() == most
        assert per_clip["person"].max() == 1
        assert per_clip["sorted"].all()


def test_clips_of_the_same_videos_in_two_builds_are_not_mixed(tmp_path: Path) -> None:
    """Sorted by frame before build, a clip held the first build's and the second's pictures in turn."""
    plan = builds.Plan(families=2, splits=("train",))
    outs = [str(builds.make(tmp_path / name, plan)) for name in ("a", "b")]
    unit = UnitConfig(mode="clips", clip=ClipConfig(frames=4))
    for pictures in (
        query.select(outs, "train", unit=unit).pictures,
        query.cover(query.select(outs, "train"), 4).pictures,
    ):
        clips = pictures.group_by("unit").agg(pl.col("source").n_unique(), pl.col("sample_id").n_unique())
        assert clips["source"].max() == 1
        assert clips["sample_id"].min() == 4


def test_a_clip_with_one_altered_face_is_fake(cut: Path) -> None:
    rows = query.select([str(cut)], "train").pictures.with_columns(
        target=pl.when(pl.col("frame_index") == 0).then(pl.col("target")).otherwise(0.0)
    )
    clips = units.unite(rows.drop("unit", "member"), UnitConfig(mode="clips", clip=ClipConfig(frames=2)))
    summary = units.summarise(clips).with_columns(
        clips.group_by("unit", maintain_order=True).agg(
            first=pl.col("frame_index").first(), label=pl.col("label").first()
        )
    )
    assert (summary["target"] == ((summary["first"] == 0) & (summary["label"] == 1))).all()


def test_all_pictures_of_a_clip_are_changed_alike(cut: Path) -> None:
    """Equal pictures of a clip stay equal, and clips differ; with a key each, the pictures of a clip differ."""
    config = AugmentConfig(size=16)
    unit = UnitConfig(mode="clips", clip=ClipConfig(frames=2))
    selection = query.select([str(cut)], "train", unit=unit)

    def rows(by_unit: bool) -> np.ndarray:
        transform = SampleTransform(draws=Draws(config), by_unit=by_unit)
        parts = [batch.draws_BK for batch in Loader(selection, batch=4, transform=transform)]
        return np.concatenate([part.numpy() for part in parts if part is not None]).reshape(-1, 2, parts[0].shape[1])

    together, alone = rows(True), rows(False)
    assert (together[:, 0] == together[:, 1]).all()
    assert len(np.unique(together[:, 0], axis=0)) > 5
    assert (alone[:, 0] != alone[:, 1]).any()
    assert (alone[:, 0] == together[:, 0]).all()
