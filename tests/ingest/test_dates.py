"""Dates for the temporal split: creation times of containers or releases, never names and never mixed."""

from __future__ import annotations

import shutil
import subprocess
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from semblance.ingest import dates, plan
from semblance.ingest import recipe as recipes
from semblance.ingest.dates import TemporalConfig
from semblance.manifests import splits
from semblance.manifests.datasets import DATASETS
from semblance.manifests.errors import UsageError
from semblance.manifests.records import Video
from semblance.manifests.splits import releases
from semblance.quality import video as media
from tests.conftest import Run

STAMPS = [f"20{year:02d}-05-06T07:08:09.000000Z" for year in range(10, 20)]


def clip(path: Path, stamp: str | None) -> None:
    """Write a clip of three frames with this creation time, by ffmpeg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tag = ["-metadata", f"creation_time={stamp}"] if stamp else []
    source = ["-f", "lavfi", "-i", "color=gray:size=32x32:rate=10:duration=0.3"]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *tag, str(path)], check=True)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten reals from ten years, in reverse order of their names, each with a fake made in 2022."""
    root = tmp_path_factory.mktemp("filmed")
    for number, stamp in enumerate(reversed(STAMPS)):
        clip(root / f"real/{number}.mp4", stamp)
        clip(root / f"fake/swap/{number}.mp4", f"2022-01-{number + 1:02d}T00:00:00.000000Z")
    return root


@needs_ffmpeg
def test_only_the_creation_time_of_the_header_is_read(filmed: Path, tmp_path: Path) -> None:
    path = str(filmed / "real/0.mp4")
    assert media.created(path) == media.probe(path).created == "2019-05-06T07:08:09+00:00"
    with open(path, "rb") as file:
        assert media.created(file) == media.created(path)
    clip(tmp_path / "none.mp4", None)
    assert media.created(str(tmp_path / "none.mp4")) is None
    for name, content in (("empty.mp4", b""), ("junk.mp4", b"x" * 1_000)):
        (tmp_path / name).write_bytes(content)
        assert media.created(str(tmp_path / name)) is None


@needs_ffmpeg
def test_a_probed_split_follows_the_originals(filmed: Path) -> None:
    recipe = recipes.load("plan", ["temporal.probe=true", "split.protocol=temporal", "split.fractions=[0.6,0.2,0.2]"])
    planned = plan.make("folder", str(filmed), recipe)
    years = {video.family_id: video.date for video in planned.videos if video.label == 0}
    split_of = {video.family_id: video.split for video in planned.videos}
    assert [split_of[family] for family in sorted(years, key=lambda family: years[family] or "")] == [
        *["train"] * 6,
        *["val"] * 2,
        *["test"] * 2,
    ]
    assert all(video.split == split_of[video.family_id] for video in planned.videos)
    assert "dates: 20 of 20 containers have a plausible creation time" in " ".join(planned.split_facts)
    undated = plan.make("folder", str(filmed), recipes.load("plan"))
    assert {video.date for video in undated.videos} == {None}
    assert undated.fingerprint != planned.fingerprint
    assert "split_temporal is null: no video has a date" in undated.split_facts


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("2019-05-06T07:08:09+00:00", True),
        ("2000-01-01", True),
        ("1999-12-31T23:59:59", False),
        ("1970-01-01T00:00:00+00:00", False),
        ("1904-01-01T00:00:00+00:00", False),
        ("2040-02-06T06:28:15+00:00", False),  # the field with all bits set
        ("yesterday", False),
        (None, False),
    ],
)
def test_plausible(text: str | None, good: bool) -> None:
    assert (dates.plausible(text) is not None) == good


def make_videos(count: int, **more: object) -> list[Video]:
    return [
        Video(video_id=f"v{n}", path=f"{n}.mp4", dataset="x", family_id=f"v{n}", label=0, **more)  # type: ignore[arg-type]
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("stamps", "words", "dated"),
    [
        ([*STAMPS, *STAMPS], "20 of 20 containers have a plausible creation time; it is that of", 20),
        ([*STAMPS, *STAMPS[:9], None], "19 of 20 containers have a plausible creation time; it is that of", 19),  # 95 %
        ([*STAMPS, *STAMPS[:8], None, "1970-01-01"], "18 of 20 containers have a plausible creation time, but 95%", 0),
        ([STAMPS[0]] * 20, "20 of 20 containers share the creation time", 0),
        ([STAMPS[0]] * 11 + STAMPS[1:10], "11 of 20 containers share the creation time", 0),
        ([None] * 20, "0 of 20 containers have a plausible creation time, but 95% are needed", 0),
        (["2040-01-01"] * 20, "0 of 20 containers have", 0),
    ],
)
def test_when_creation_times_are_used(
    stamps: list[str | None], words: str, dated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dates, "_created", lambda url: stamps[int(url.rsplit("/", 1)[1].removesuffix(".mp4"))])
    videos, facts = dates.dated(make_videos(len(stamps)), "/root", TemporalConfig(probe=True))
    assert words in " ".join(facts)
    assert sum(video.date is not None for video in videos) == dated


def test_dates_of_a_table_are_never_mixed_with_others() -> None:
    videos = [*make_videos(2, date="2020-01-01"), *make_videos(1)]
    found, facts = dates.dated(videos, "/nowhere", TemporalConfig(probe=True, releases=True))
    assert list(found) == videos
    assert "from the table" in facts[0]
    assert dates.dated(videos, "/nowhere", TemporalConfig()) == (videos, ())


# releases -----------------------------------------------------------------------------------------------------


def test_every_release_has_a_day_and_a_source() -> None:
    for release in (one for info in DATASETS.values() for one in info.releases.values()):
        assert date(2018, 1, 1) < date.fromisoformat(release.date) < date(2026, 1, 1)
        assert len(release.source) > 20
    of = releases.release_of
    newest = max(DATASETS["ffpp"].releases.items(), key=lambda item: item[1].date)
    assert newest[0] == "FaceShifter"
    assert of("ffpp", "youtube/c23", "pristine") == of("ffpp", "Deepfakes/c40", "Deepfakes")
    assert of("ffpp", "actors/c23", "pristine") == of("ffpp", "DeepFakeDetection/c23", "DeepFakeDetection")
    assert of("dfdc", "train_07", None) == of("dfdc", None, "pristine") is not None
    assert of("folder", "real", "pristine") is None
    plain, plus = (of("celebdf", "Celeb-synthesis/FaceSwap", method) for method in ("CelebDF", "SimSwap"))
    assert plain is not None
    assert plus is not None
    assert plain.date < plus.date
    assert of("ffpp", "My Method/c23", "My Method") is None


def ffpp(stem: str, group: str, original: str, **more: object) -> Video:
    fake = group not in ("youtube", "actors")
    return Video(
        video_id=f"ffpp-{group}-{stem}",
        path=f"{group}/{stem}.mp4",
        dataset="ffpp",
        part=f"{group}/c23",
        label=int(fake),
        method=group if fake else "pristine",
        family_id=f"ffpp-{original}",
        **more,  # type: ignore[arg-type]
    )


def test_a_fake_has_the_release_of_its_original() -> None:
    videos = [ffpp("000", "youtube", "000"), ffpp("000_001", "FaceShifter", "000")]
    videos += [ffpp("01__x", "actors", "01__x"), ffpp("01_02__x__A", "DeepFakeDetection", "01__x")]
    found, facts = dates.dated(videos, "/nowhere", TemporalConfig(releases=True))
    assert [video.date for video in found] == ["2019-01-25", "2020-07-15", "2019-09-24", "2019-09-24"]
    assert sum("changelog" in fact for fact in facts) == 2
    frame = splits.plan_frame(found)
    config = splits.SplitConfig(protocol="temporal", fractions=(0.5, 0.0, 0.5))
    assert splits.assign(frame, config, 0).table["split"].to_list() == ["train", "train", "test", "test"]
    with pytest.raises(UsageError, match="there are only 2 different dates"):
        splits.assign(frame, splits.SplitConfig(protocol="temporal"), 0)


def plan_of(dataset: str, count: int, **more: object) -> pl.DataFrame:
    videos = make_videos(count, **more)
    return splits.plan_frame(videos).with_columns(
        dataset=pl.lit(dataset), video_id=dataset + pl.col("video_id"), family_id=dataset + pl.col("family_id")
    )


def test_several_datasets_are_split_by_their_releases(tmp_path: Path, run: Run) -> None:
    plans = [plan_of("dfdc", 20), splits.plan_frame([ffpp(f"{n:03d}", "youtube", f"{n:03d}") for n in range(60)])]
    plans += [plan_of("celebdf", 20), plan_of("folder", 20, date="2021-03-04")]
    table, facts = splits.over_time(plans[:3], (0.6, 0.2, 0.2))
    splits_of = table.group_by("dataset").agg(pl.col("split_temporal").unique())
    assert dict(splits_of.iter_rows()) == {"ffpp": ["train"], "celebdf": ["val"], "dfdc": ["test"]}
    assert facts[0].startswith("ffpp was released 2019-01-25")
    for number, planned in enumerate(plans):
        planned.write_parquet(tmp_path / f"{number}.parquet")
    files = [tmp_path / f"{number}.parquet" for number in range(4)]
    options = ["--fractions", 0.5, 0.3, 0.2, "--to", tmp_path / "splits.parquet"]
    output = run("manifests", "temporal", *files, *options).stdout
    assert "train 2019-01-25, val 2020-06-14, test 2021-03-04" in output
    written = pl.read_parquet(tmp_path / "splits.parquet")
    assert written.height == 120
    assert set(written.filter(pl.col("dataset") == "folder")["split_temporal"]) == {"test"}
    assert "there are only 2 different dates" in run("manifests", "temporal", *files[:2], expect=2).stderr
