"""Pictures in folders: every one that the manifest calls usable, under names that DeepfakeBench's code can read."""

from __future__ import annotations

import csv
import json
import random
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from semblance import manifests
from semblance.manifests import splits
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Video
from semblance.manifests.storage.staging import NewFolder
from semblance.shards import read
from semblance.shards.export import export
from tests.conftest import Run
from tests.ingest.run.test_build import content
from tests.shards import synthetic

# Of the label_dict in their training/config/train_config.yaml; what is not called real there is 1.
LABEL_DICT = (
    *("DFD_fake", "DFD_real", "FF-SH", "FF-F2F", "FF-DF", "FF-FS", "FF-NT", "FF-FH", "FF-real"),
    *("CelebDFv1_real", "CelebDFv1_fake", "CelebDFv2_real", "CelebDFv2_fake"),
    *("DFDCP_Real", "DFDCP_FakeA", "DFDCP_FakeB", "DFDC_Fake", "DFDC_Real", "DF_fake", "DF_real"),
)
KNOWN = {label: int("real" not in label.lower()) for label in LABEL_DICT}


def load(folder: Path, name: str, mode: str, label_dict: dict[str, int]) -> list[tuple[str, int, str]]:
    """A few lines that do what DeepfakeBench's loader does: (path, label, video) of every frame of a mode."""
    info = json.loads((folder / "preprocessing" / "dataset_json" / f"{name}.json").read_text())
    found = []
    for label in info[name]:
        for video, note in info[name][label][mode].items():
            frames = sorted(note["frames"], key=lambda path: int(path.split("/")[-1].split(".")[0]))
            for path in frames:
                assert path[0] == "."  # they open it as it is
                found.append((path, label_dict[note["label"]], f"{note['label']}_{video}"))
    return found


def installed(exported: Path, bench: Path) -> Path:
    """A checkout of DeepfakeBench with an export in it, as the export's README says."""
    (bench / "datasets").mkdir(parents=True)
    (bench / "preprocessing").mkdir()
    shutil.copytree(exported / "rgb", bench / "datasets" / "rgb")
    shutil.copytree(exported / "dataset_json", bench / "preprocessing" / "dataset_json")
    return bench


def usable(out: Path, *, sides: tuple[str, ...] = ("train", "val", "test")) -> pl.DataFrame:
    """What the manifest has for a training: kept faces of known label on some side."""
    samples = manifests.scan(str(out)).filter(
        (pl.col("verdict") == "keep") & pl.col("face_label").is_not_null() & pl.col("split").is_in(sides)
    )
    return samples.collect()


def with_folders(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with the folder of each picture: one a person, or one a track where persons are unknown."""
    names = []
    for row in rows.iter_rows(named=True):
        kind, number = ("t", row["track"]) if row["person"] is None else ("p", row["person"])
        names.append(f"{row['video_id']}-{kind}{number:02d}" if number else row["video_id"])
    return rows.with_columns(pl.Series("folder", names, pl.String))


def test_deepfakebench_reads_what_the_manifest_has(own: Path, run: Run, tmp_path: Path) -> None:
    """Paths, labels, videos and pixels through a copy of their way of reading; the rest is excluded and counted."""
    before = content(own)
    output = run("shards", "export", own, "--format", "deepfakebench", "--to", tmp_path / "export").stdout
    bench = installed(tmp_path / "export", tmp_path / "bench")
    readme = (tmp_path / "export" / "README.md").read_text()
    lines = [line.split(":") for line in readme.split("```")[3].splitlines() if line]
    own_labels = {name.strip(): int(value) for name, value in lines}
    assert "81 landmarks" in readme
    assert "only if the build used the recipe `deepfakebench`" in readme
    rows = usable(own)
    assert {1, 0} == set(rows["face_label"])
    for mode in ("train", "val", "test"):
        wanted = rows.filter(pl.col("split") == mode)
        found = load(bench, "folder-semblance", mode, KNOWN | own_labels)
        assert len(found) == len({path for path, _, _ in found}) == wanted.height
        videos = Counter((path.split("/")[-2], label) for path, label, _ in found)  # their metrics' idea of a video
        named = with_folders(wanted)
        assert videos == Counter(named.select("folder", "face_label").iter_rows())
        by_place = {(row["folder"], row["frame_index"] * 100 + row["track"]): row for row in named.to_dicts()}
        for path, label, _ in found:
            row = by_place.pop((path.split("/")[-2], int(path.split("/")[-1].split(".")[0])))
            assert (bench / path).read_bytes() == read.fetch(str(own), row)
            assert label == row["face_label"]
            assert cv2.imread(str(bench / path)) is not None
        assert not by_place
        people = named.group_by("folder").agg(pl.struct("video_id", "person").n_unique(), pl.col("track").n_unique())
        assert people["video_id"].eq(1).all()  # no clip of theirs mixes people
        assert people.filter(pl.col("folder").str.contains("-t"))["track"].eq(1).all()
    samples = manifests.scan(str(own)).collect()
    on_side = samples.filter(pl.col("split") != "unassigned")
    for words, count in (
        (f"{rows.height} pictures", rows.height),
        ("faces with unknown face label", on_side["face_label"].null_count()),
        ("faces of unassigned videos", (samples["split"] == "unassigned").sum()),
        ("faces rejected and only marked", on_side.drop_nulls("face_label").height - rows.height),
    ):
        assert count
        assert any(words in line and str(count) in line for line in output.splitlines())
    assert "prohibit redistribution" in output
    assert content(own) == before


def test_a_plain_folder_holds_the_same_pictures(own: Path, run: Run, tmp_path: Path) -> None:
    """``<split>/<label>/<method>/<video>/<frame>``; the CSV tells where each row's picture went."""
    to = tmp_path / "made" / "export"
    run("shards", "export", own, "--format", "folder", "--to", to, "--all")
    rows = {row["sample_id"]: row for row in usable(own, sides=("train", "val", "test", "unassigned")).to_dicts()}
    with (to / "manifest.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert sorted(line["sample_id"] for line in listed) == sorted(rows)
    files = {path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()}
    assert files == {line["path"] for line in listed} | {"manifest.csv", "README.md"}
    methods = set()
    for line in listed:
        row = rows[line["sample_id"]]
        split, label, method, video, name = line["path"].split("/")
        methods.add((row["method"], method))
        assert (split, label, video) == (row["split"], ("real", "fake")[row["face_label"]], row["video_id"])
        assert name == f"{row['frame_index']:06d}-{row['track']:02d}.jpg"
        assert (to / line["path"]).read_bytes() == read.fetch(str(own), row)
        assert float(line["blur"]) == pytest.approx(row["blur"])
        assert json.loads(line["landmarks"]) == pytest.approx(row["landmarks"])
    assert ("swap", "swap") in methods
    assert all("/" not in folder and "." not in folder for _, folder in methods)  # blend/../x is a name, no way up
    assert not list((tmp_path / "made").glob(".*"))


# invented builds ----------------------------------------------------------------------------------------------


def ffpp(chance: random.Random) -> list[Video]:
    """A few sequences in two compressions, with every method, and actors."""
    videos = []
    for compression in ("c23", "c40"):
        for number in range(12):
            acted = number > 8
            # "frames": their loader replaces that word anywhere in a path
            real = f"ffpp-{compression}-{'actors' if acted else 'frames'}-{number:03d}"
            base = Video(
                video_id=real,
                path=f"{real}.mp4",
                dataset="ffpp",
                part=f"{'actors' if acted else 'youtube'}/{compression}",
                label=0,
                method="pristine",
                compression=compression,
                family_id=f"ffpp-{number:03d}",
                target_id=f"ffpp-{number:03d}",
                split_official=("train", "val", "test")[number % 3],
            )
            videos.append(base)
            for method in ("DeepFakeDetection",) if acted else tuple(METHODS):
                name = f"ffpp-{compression}-{method}-{number:03d}_{chance.randint(0, 8):03d}"
                videos.append(replace(base, video_id=name, path=name, label=1, method=method, part=method))
    return videos


METHODS = {
    "Deepfakes": "FF-DF",
    "Face2Face": "FF-F2F",
    "FaceSwap": "FF-FS",
    "NeuralTextures": "FF-NT",
    "FaceShifter": "FF-FH",
}


def test_ffpp_has_deepfakebenchs_own_labels_and_its_masks(tmp_path: Path) -> None:
    """Labels that their label_dict knows, a dataset a compression, masks where their loader looks."""
    out = tmp_path / "out"
    nature = splits.DatasetTraits(basis="recording")
    synthetic.build(out, ffpp(random.Random(1)), "split.protocol=official", frames=4, nature=nature)
    done = export(str(out), "deepfakebench", str(tmp_path / "export"))
    bench = installed(tmp_path / "export", tmp_path / "bench")
    rows = usable(out)
    masks = members(out, "mask.png")
    expected = {"pristine": "FF-real", "DeepFakeDetection": "DFD_fake"} | METHODS
    for compression in ("c23", "c40"):
        name = f"ffpp-{compression}-semblance"
        labels = set()
        for mode in ("train", "val", "test"):
            wanted = rows.filter((pl.col("split") == mode) & (pl.col("compression") == compression))
            found = load(bench, name, mode, KNOWN)
            assert Counter(label for _, label, _ in found) == Counter(wanted["face_label"])
            named = with_folders(wanted)
            by_place = {(row["folder"], row["frame_index"] * 100 + row["track"]): row for row in named.to_dicts()}
            for path, _, video in found:
                row = by_place[path.split("/")[-2], int(path.split("/")[-1].split(".")[0])]
                acted = "actors" in row["video_id"]
                label = "DFD_real" if acted and row["label"] == 0 else expected[row["method"]]
                assert video == f"{label}_{row['folder']}"
                labels.add(label)
                mask = bench / path.replace("frames", "masks")  # as their __getitem__ does
                assert mask.is_file() == row["mask"]
                if row["mask"]:
                    assert mask.read_bytes() == masks[row["sample_id"]]
        assert labels == {"FF-real", "DFD_real", "DFD_fake", *METHODS.values()}
    assert done.masks == rows["mask"].sum() > 0
    assert "label_dict" not in (tmp_path / "export" / "README.md").read_text()


def members(out: Path, suffix: str) -> dict[str, bytes]:
    found = {}
    for file in out.glob("shards/*/*.tar"):
        with tarfile.open(file) as tar:
            for member in tar:
                if member.name.endswith(f".{suffix}"):
                    found[member.name.partition(".")[0]] = tar.extractfile(member).read()
    return found


def test_opencv_reads_a_png_by_any_name(tmp_path: Path) -> None:
    """Masks are PNGs under their pictures' names: their loader's ``cv2.imread(path, 0)`` must see them exactly."""
    mask = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    (tmp_path / "00000000.jpg").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    exported = cv2.imread(str(tmp_path / "00000000.jpg"), 0)
    assert exported is not None
    assert np.array_equal(exported, mask)


@pytest.mark.parametrize(
    ("dataset", "labels"),
    [
        ("celebdf", {"CelebDFv2_real", "CelebDFv2_fake"}),
        ("dfdc", {"DFDC_Real", "DFDC_Fake"}),
        ("dfdc-preview", {"DFDCP_Real", "DFDCP_FakeA", "DFDCP_FakeB"}),
    ],
)
def test_the_other_datasets_labels(tmp_path: Path, dataset: str, labels: set[str]) -> None:
    by_number = {"dfdc": (None,) * 3, "dfdc-preview": ("method_A", "method_B", "method_A")}
    methods = by_number.get(dataset, ("swap",) * 3)
    videos = [
        replace(one, method=methods[int(one.video_id[-1]) - 1] if one.label else one.method)
        for one in synthetic.people(random.Random(2), 6, dataset)
        if one.label is not None
    ]
    synthetic.build(tmp_path / "out", videos, "split.protocol=family", frames=4)
    export(str(tmp_path / "out"), "deepfakebench", str(tmp_path / "export"))
    info = json.loads((tmp_path / "export" / "dataset_json" / f"{dataset}-semblance.json").read_text())
    assert set(info[f"{dataset}-semblance"]) == labels
    assert all(set(sides) == {"train", "val", "test"} for sides in info[f"{dataset}-semblance"].values())


def test_an_export_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """A folder with anything in it is refused; a damaged shard leaves nothing behind."""
    out = tmp_path / "out"
    synthetic.build(out, synthetic.people(random.Random(4), 5), "split.protocol=family")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    for to, kind, words in (
        (full, SemblanceError, "is not empty"),
        (tmp_path / "file", SemblanceError, "is not empty"),
        (out / "export", UsageError, "a build is never changed"),
    ):
        with pytest.raises(kind, match=words):
            export(str(out), "folder", str(to))
    with pytest.raises(UsageError, match="Unknown format 'zip'; --format accepts deepfakebench, folder"):
        export(str(out), "zip", str(tmp_path / "zip"))
    assert [file.name for file in full.iterdir()] == ["thesis.txt"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert export(str(out), "folder", str(empty)).pictures.total() == usable(out).height
    harms: dict[str, Callable[[Path], object]] = {
        "flip": lambda file: file.write_bytes(file.read_bytes().replace(b"\xff\xd8\xff", b"\xff\xd8\xfe")),
        "cut": lambda file: file.write_bytes(file.read_bytes()[:3000]),
        "gone": Path.unlink,
    }
    for name, harm in harms.items():
        other = tmp_path / name
        shutil.copytree(out, other)
        harm(max(other.glob("shards/*/*.tar"), key=lambda file: file.stat().st_size))
        with pytest.raises(SemblanceError, match="shards verify"):
            export(str(other), "folder", str(tmp_path / f"{name}-export"))
        assert not list(tmp_path.glob(f"*{name}-export*"))
    (other / "dataset.json").unlink()
    with pytest.raises(SemblanceError, match="is not finished"):
        export(str(other), "folder", str(tmp_path / "export"))


def test_a_new_folder_hides_until_it_is_whole(tmp_path: Path) -> None:
    to = tmp_path / "new"
    with NewFolder(str(to), "--to") as folder:
        folder.put("deep/a", b"1")
        assert not to.exists()
    assert (to / "deep" / "a").read_bytes() == b"1"
    shutil.rmtree(to)
    stale = tmp_path / ".new.semblance-partial"  # of a killed run
    stale.mkdir()
    (stale / "old").write_text("")
    with pytest.raises(TypeError), NewFolder(str(to), "--to") as folder:
        folder.put("b", "no bytes")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
