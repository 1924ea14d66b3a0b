"""The loader: which pictures, in which order, from which position, and how damage is reported."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import webdataset

from semblance import manifests
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Image
from semblance.quality import codec
from semblance.shards import read
from semblance.training.data import peek, query, shards
from semblance.training.data.loader import EpochConfig, Loader, Transfer, World
from semblance.training.data.order import ShuffleConfig
from semblance.training.data.query import Selection
from semblance.training.data.units import ClipConfig, UnitConfig
from semblance.training.data.worker import SampleTransform
from semblance.training.records import Batch
from tests.conftest import BIN, HANG, Run

# torch 2.15 warns of more workers than cores: here they are two or three on any machine
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning:torch.utils.data.dataloader")

SMALL = ShuffleConfig(buffer=7, open=2)
MIXED = EpochConfig(mix={"ffpp": 60.0, "dfdc": 40.0}, balanced_per_method=True, draws=97, shuffle=SMALL)
ONCE = EpochConfig(shuffle=SMALL)


@pytest.fixture(scope="module")
def both(ffpp: Path, dfdc: Path) -> Selection:
    return query.select([str(ffpp), str(dfdc)], "train")


def loader(selection: Selection, **changes: object) -> Loader:
    settings: dict[str, object] = {"batch": 8, "seed": 3, "config": MIXED}
    return Loader(selection, **(settings | changes))  # type: ignore[arg-type]


def names(batches: list[Batch]) -> list[tuple[str, ...]]:
    return [batch.sample_ids for batch in batches]


def same(a: Batch, b: Batch) -> bool:
    ids, others = ((one.sample_ids, one.tracks, one.persons) for one in (a, b))
    return ids == others and torch.equal(a.image_BCHW, b.image_BCHW)


@pytest.mark.parametrize(("ranks", "workers"), [(1, 0), (1, 3), (2, 0), (3, 2)])
def test_an_epoch_holds_the_same_pictures_in_any_world(both: Selection, ranks: int, workers: int) -> None:
    expected = Counter(dict(zip(both.pictures["sample_id"], loader(both).draws(1).tolist(), strict=True)))
    parts = []
    for rank in range(ranks):
        one = loader(both, world=World(rank=rank, ranks=ranks), workers=workers)
        one.epoch = 1
        parts.append(list(one))
        assert (one.epoch, one.position) == (2, 0)
    assert Counter(name for part in parts for group in names(part) for name in group) == +expected
    assert len({len(part) for part in parts}) == 1
    sizes = {len(group) for part in parts for group in names(part)}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= 8


def test_the_same_world_repeats_exactly_and_others_do_not(both: Selection) -> None:
    first, again = list(loader(both, workers=2)), list(loader(both, workers=2))
    assert all(map(same, first, again))
    for other in (loader(both, workers=2, seed=4), loader(both, workers=1), loader(both, workers=2)):
        other.epoch = int(other.seed == 3 and other.workers == 2)
        assert names(list(other)) != names(first)
    assert names(list(loader(both, workers=1))) == names(list(loader(both, workers=0)))


@pytest.mark.parametrize(("mode", "workers"), [("frames", 0), ("clips", 0), ("pairs", 0), ("frames", 2)])
def test_a_resumed_epoch_continues_exactly(ffpp: Path, mode: str, workers: int) -> None:
    unit = UnitConfig(mode=mode, clip=ClipConfig(frames=3, step=2))  # type: ignore[arg-type]
    selection = query.select([str(ffpp)], "train", unit=unit)
    config = EpochConfig(balanced_per_method=True, draws=50, shuffle=SMALL)
    world = World(rank=1, ranks=2)
    whole = loader(selection, config=config, world=world, workers=workers, batch=4)
    epochs = [*list(whole), *list(whole)]
    half = len(epochs) // 2
    for start in (1, half + 3) if workers else (1, 2, 5, half, half + 3):
        one = loader(selection, config=config, world=world, workers=workers, batch=4)
        state = None
        while state is None:
            for _ in one:
                start -= 1
                if not start:
                    state = json.loads(json.dumps(one.state_dict()))
                    break
        resumed = loader(selection, config=config, world=world, workers=workers, batch=4)
        resumed.load_state_dict(state)
        remaining = [*list(resumed), *(list(resumed) if resumed.epoch < 2 else [])]
        assert all(map(same, remaining, epochs[len(epochs) - len(remaining) :]))
        assert len(remaining) == len(epochs) - (state["epoch"] * half + state["position"])


def test_a_position_of_other_data_or_another_world_is_refused(both: Selection, ffpp: Path) -> None:
    one = loader(both, workers=0)
    next(iter(one))
    state = one.state_dict()
    for other in (loader(both, seed=9), loader(query.select([str(ffpp)], "train"), config=ONCE)):
        with pytest.raises(SemblanceError, match="differ from those of the saved position"):
            other.load_state_dict(state)
    for other in (loader(both, workers=2), loader(both, world=World(rank=0, ranks=2), batch=4)):
        with pytest.raises(SemblanceError, match="inside an epoch of 1 ranks with 1 workers"):
            other.load_state_dict(state)
        other.load_state_dict(state | {"position": 0})


def test_the_transform_of_a_draw_does_not_depend_on_its_worker(both: Selection) -> None:
    """Every draw has its own key, the same in any world."""

    def stamp(image: Image, landmarks: object, key: str) -> Image:
        assert (image.shape, landmarks) == ((32, 32, 3), None)
        keys = np.frombuffer(key.rjust(96)[-96:].encode(), np.uint8)
        return np.asarray(keys.reshape(4, 8, 3), np.uint8)

    def keys(one: Loader) -> list[str]:
        return sorted(
            bytes(image.permute(1, 2, 0).reshape(-1).tolist()).decode() for batch in one for image in batch.image_BCHW
        )

    stamped = {"transform": SampleTransform(image=stamp), "transfer": Transfer(as_bytes=True)}
    alone = keys(loader(both, **stamped))
    assert len(set(alone)) == len(alone) == MIXED.draws
    assert keys(loader(both, **stamped, workers=2)) == alone


def test_pictures_equal_those_read_by_webdataset(both: Selection) -> None:
    theirs: dict[str, np.ndarray] = {}
    for shard in both.shards:
        with open(shard.url, "rb") as file:
            files = webdataset.tariterators.tar_file_expander([{"url": shard.url, "stream": file}])
            for sample in webdataset.tariterators.group_by_keys(files):
                theirs[sample["__key__"]] = webdataset.autodecode.imagehandler("rgb8")("png", sample["png"])
    rows = {row["sample_id"]: row for row in both.pictures.iter_rows(named=True)}
    for batch in loader(both, config=ONCE):
        assert (batch.image_BCHW.dtype, batch.target_B.dtype) == (torch.float32, torch.float32)
        for i, name in enumerate(batch.sample_ids):
            pixels = (batch.image_BCHW[i] * 255).round().byte().permute(1, 2, 0).numpy()
            assert np.array_equal(pixels, theirs[name])
            row = rows.pop(name)
            ids = (batch.video_ids[i], batch.tracks[i], batch.persons[i])
            assert ids == (row["video_id"], row["track"], row["person"])
            assert batch.target_B[i] == row["target"]
    assert not rows


def test_sizes_targets_and_landmarks(ffpp: Path, built: Path) -> None:
    selection = query.select([str(ffpp)], "val", unlabelled=True)
    batch = next(iter(loader(selection, config=ONCE, size=48, batch=selection.units.height)))
    assert batch.image_BCHW.shape[2:] == (48, 48)
    assert torch.isnan(batch.target_B).sum() == selection.pictures["target"].null_count()
    seen: dict[str, np.ndarray] = {}

    def look(image: Image, landmarks: np.ndarray | None, key: str) -> Image:
        assert landmarks is not None
        seen[key.split("-", 3)[3]] = landmarks
        return image

    real = query.select([str(built)], "train")
    list(loader(real, config=ONCE, transform=SampleTransform(image=look, landmarks=True), batch=4))
    for row in manifests.scan(str(built)).filter(pl.col("split") == "train").collect().iter_rows(named=True):
        if row["sample_id"] in seen:  # landmarks are in the face, which is in the middle of the crop
            x, y = seen[row["sample_id"]].reshape(5, 2).T
            assert x.min() > 224 * 0.15
            assert x.max() < 224 * 0.85
            assert y[:2].max() < y[2] < y[3:].min()
    assert len(seen) == real.counts.selected


def _rewrite(file: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    with tarfile.open(file) as tar:
        members = [(one.name, tar.extractfile(one).read()) for one in tar.getmembers()]
    with tarfile.open(file, "w") as tar:
        for name, content in change(members):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _cut_at(file: Path, share: float) -> None:
    with tarfile.open(file) as tar:
        members = tar.getmembers()
    file.write_bytes(file.read_bytes()[: members[int(len(members) * share) // 2 * 2].offset])


def _renamed(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    old = members[-1][0].split(".")[0]
    return [(name.replace(old, "somebody-000000-00"), content) for name, content in members]


def _without_end(file: Path) -> None:
    with tarfile.open(file) as tar:
        last = tar.getmembers()[-1]
    file.write_bytes(file.read_bytes()[: last.offset_data + -(-last.size // 512) * 512])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "is missing"),
    "cut inside a member": (lambda file: file.write_bytes(file.read_bytes()[:5000]), "cannot be read|cut short"),
    "cut between members": (lambda file: _cut_at(file, 0.5), "cut short"),
    "cut after the last member": (_without_end, "no end-of-archive mark"),
    "a sample missing": (lambda file: _rewrite(file, lambda members: members[2:]), "its manifest lists"),
    "a sample too many": (
        lambda file: _rewrite(file, lambda members: [*members, ("new.png", b"x"), ("new.json", b"{}")]),
        "its manifest lists",
    ),
    "another sample": (lambda file: _rewrite(file, _renamed), "not the ones its manifest lists|are missing in"),
    "a picture missing": (lambda file: _rewrite(file, lambda members: members[1:]), "0 pictures and 1 JSON files"),
    "a JSON file missing": (lambda file: _rewrite(file, lambda members: members[:-1]), "1 pictures and 0 JSON files"),
    "a member twice": (lambda file: _rewrite(file, lambda members: [members[0], *members]), "cannot be read"),
    "not a tar": (lambda file: file.write_bytes(b"nonsense" * 999), "cannot be read"),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damage_is_an_error_that_names_the_shard(dfdc: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    shutil.copytree(dfdc, out)
    selection = query.select([str(out)], "train")
    harm, words = DAMAGE[damage]
    harm(Path(selection.shards[0].url))
    with pytest.raises(SemblanceError, match=words) as caught:
        list(loader(selection, config=ONCE, workers=0))
    assert selection.shards[0].url in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_an_error_with_its_id(dfdc: Path, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    shutil.copytree(dfdc, out)
    selection = query.select([str(out)], "train")
    broken = selection.pictures["sample_id"][5]
    shard = Path(selection.shards[selection.pictures["shard"][5]].url)
    _rewrite(shard, lambda members: [(n, b"\xff\xd8no" if n == f"{broken}.png" else c) for n, c in members])
    with pytest.raises(SemblanceError, match=f"The picture of {broken} in .* cannot be decoded") as caught:
        list(loader(selection, config=ONCE, workers=workers))
    assert "Traceback" not in str(caught.value)


def test_pictures_of_two_sizes_need_a_common_size(ffpp: Path, built: Path) -> None:
    selection = query.select([str(ffpp), str(built)], "train")
    with pytest.raises(SemblanceError, match="32x32"):
        list(loader(selection, config=ONCE, batch=40))


def test_the_world_is_read_from_its_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert World.detect() == World(rank=0, ranks=1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert World.detect() == World(rank=3, ranks=8)


def test_object_storage_gives_the_same(dfdc: Path, s3: dict[str, str]) -> None:
    """Every batch equals that from local disk, also with workers; a missing shard is named."""
    script = (
        "import sys, hashlib, fsspec\n"
        "from semblance.training.data import loader, query, shards\n"
        "local, remote = sys.argv[1:]\n"
        "fs = fsspec.filesystem('s3'); fs.put(local + '/', remote[5:] + '/', recursive=True)\n"
        "def look(out):\n"
        "    selection = query.select([out], 'train'); shards.check(selection.shards)\n"
        "    h = hashlib.sha256()\n"
        "    for batch in loader.Loader(selection, batch=5, workers=2):\n"
        "        h.update(repr(batch.sample_ids).encode()); h.update(batch.image_BCHW.numpy().tobytes())\n"
        "    return h.hexdigest()\n"
        "assert look(local) == look(remote)\n"
        "selection = query.select([remote], 'train'); fs.rm(selection.shards[0].url)\n"
        "try: list(loader.Loader(selection, batch=5, workers=2))\n"
        "except Exception as error: print(error)\n"
    )
    words = [str(BIN / "python"), "-c", script, str(dfdc), "s3://bucket/loader"]
    done = subprocess.run(words, env=s3, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stderr
    assert "s3://bucket/loader/shards/train/dfdc-train-000000.tar is missing" in done.stdout


def test_every_row_has_its_picture(built: Path) -> None:
    rows = {row["sample_id"]: row for row in manifests.scan(str(built)).collect().iter_rows(named=True)}
    seen = []
    for split in ("train", "val", "test"):
        selection = query.select([str(built)], split, unlabelled=True)
        shards.check(selection.shards)
        for name, image in peek.images(selection):
            assert rows[name]["split"] == split
            assert np.array_equal(image, codec.decode(read.fetch(str(built), rows[name])))
            seen.append(name)
    assert sorted(seen) == sorted(rows)


def test_peek_counts(built: Path, run: Run, tmp_path: Path) -> None:
    samples = manifests.scan(str(built)).filter(pl.col("split") == "train").collect()
    output = run("training", "peek", "--data", built).stdout
    real, fake = (samples["face_label"] == 0).sum(), (samples["face_label"] == 1).sum()
    assert f"{samples.height} pictures of {samples.height} rows" in output
    assert f"{real} real, {fake} fake, {samples['face_label'].null_count()} without" in output
    assert "224x224" in output
    assert "Unknown split 'nope'" in run("training", "peek", "--data", built, "--split", "nope", expect=2).stderr
    out = tmp_path / "out"
    shutil.copytree(built, out)
    part = max((out / "manifests" / "samples").glob("*train*.parquet"), key=lambda file: file.stat().st_size)
    pl.read_parquet(part).head(-1).write_parquet(part)
    with pytest.raises(SemblanceError, match="verify --deep"):
        peek.peek(str(out), "train")


def test_fewer_draws_than_ranks_are_refused(both: Selection) -> None:
    with pytest.raises(SemblanceError, match="fewer ranks"):
        Loader(both, batch=8, config=EpochConfig(draws=3), world=World(rank=0, ranks=4))
