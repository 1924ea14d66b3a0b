"""Complete builds from archives: valid and hostile ones, and the sample collection against its truth table."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.quality import codec
from semblance.shards import read, verify
from tests.conftest import Run
from tests.ingest.archives import archive, bomb, entry, face, png, write_tree
from tests.ingest.run.test_build import content


def build(run: Run, root: Path, out: Path, *options: object, expect: int = 0) -> str:
    done = run("ingest", "build", "--dataset", "wilddeepfake", "--root", root, "--out", out, *options, expect=expect)
    return done.stdout


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Valid archives in every folder, together with every kind of damaged or hostile one."""
    faces = [png(face(seed, 96)) for seed in range(8)]
    tree = {}
    for label in ("real", "fake"):
        for split, shards in (("train", (1, 2)), ("test", (1,))):
            for shard in shards:
                members = {f"./{shard}/{label}/{s}/{7 * i}.png": faces[(s + i) % 8] for s in (0, 1) for i in range(6)}
                tree[f"{label} {split}/{shard}.tar.gz"] = archive(members, packed=shard == 2)
    valid: list[tuple[str | tarfile.TarInfo, bytes]] = [(f"3/real/0/{i}.png", faces[i]) for i in range(4)]
    bad: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (entry("../../escaped/0.png"), faces[0]),
        (entry("/tmp/escaped/0.png"), faces[0]),
        (entry("3/real/0/9.png", tarfile.SYMTYPE, link="/etc/passwd"), b""),
        (entry("3/real/0/" + "n" * 10_000 + ".png"), faces[0]),
        (entry("3/real/1/0.png", tarfile.FIFOTYPE), b""),
        ("3/real/2/", b""),
        ("3/fake/3/0.png", faces[1]),
        ("3/real/4/0.png", b"not a picture"),
        ("3/real/4/1.png", faces[2]),
    ]
    tree["real train/3.tar.gz"] = archive([*valid, *bad])
    intact = archive({f"4/real/{s}/{i}.png": faces[i] for s in (0, 1) for i in range(4)}, packed=True)
    tree["real train/4.tar.gz"] = intact[: len(intact) * 3 // 4]
    tree["real train/5.tar.gz"] = bomb(200)
    tree["fake train/6.tar.gz"] = b"<html>not found</html>"
    return write_tree(tmp_path_factory.mktemp("hostile") / "a" / "root", tree)


def test_a_hostile_collection_is_built_the_same_for_any_number_of_workers(
    hostile: Path, run: Run, tmp_path: Path
) -> None:
    """Every video has a row, every problem a finding, and nothing is written outside OUT."""
    around = hostile.parent.parent
    before = sorted(str(path) for path in around.rglob("*"))
    options = ("--set", "sampling.n=4", "--set", "shards.target_bytes=1", "--set", "crop.size=64")
    output = build(run, hostile, tmp_path / "one", "--workers", 1, *options, expect=3)
    build(run, hostile, tmp_path / "two", "--workers", 2, *options, expect=3)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert sorted(str(path) for path in around.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    assert not os.path.exists("/tmp/escaped")
    assert verify.verify(str(tmp_path / "one"), deep=True).problems == []
    videos = manifests.scan(str(tmp_path / "one"), "videos").collect()
    plan = manifests.scan(str(tmp_path / "one"), "plan").collect()
    assert sorted(videos["video_id"]) == sorted(plan["video_id"])
    statuses = {
        f"{part}/{member}": status
        for part, member, status in videos.select("part", "member", "status").iter_rows()
        if member.startswith(("3/", "4/"))
    }
    assert statuses == {
        "real_train/3/real/0": "ok",
        "real_train/3/real/2": "empty",
        "real_train/3/fake/3": "ok",
        "real_train/3/real/4": "partial",
        "real_train/4/real/0": "partial",
        "real_train/4/real/1": "partial",
    }
    assert set(videos.filter(~pl.col("member").str.starts_with("3/") & (pl.col("status") != "ok"))["path"]) == {
        "real train/4.tar.gz"
    }
    findings = manifests.scan(str(tmp_path / "one"), "findings").collect()
    assert {(row["path"], row["kind"]) for row in findings.iter_rows(named=True)} == {
        ("real train/3.tar.gz", "refused_member"),
        ("real train/3.tar.gz", "label_disagrees"),
        ("real train/4.tar.gz", "bad_archive"),
        ("real train/5.tar.gz", "bad_archive"),
        ("real train/5.tar.gz", "refused_member"),
        ("fake train/6.tar.gz", "bad_archive"),
    }
    assert "refused_member" in output
    archives = plan.group_by("path").agg(pl.col("split").n_unique(), pl.col("shard").n_unique())
    assert archives["split"].max() == archives["shard"].max() == 1  # archives are never divided


@pytest.mark.shared
def test_the_sample_collection_agrees_with_its_truth(shared: Path, run: Run, tmp_path: Path) -> None:
    """Each row of truth.csv is a sequence; the build must agree with it."""
    root, out = shared / "data/wilddeepfake", tmp_path / "out"
    build(run, root, out)
    truth = pl.read_csv(root / "truth.csv").with_columns(member=pl.col("note").str.strip_prefix("inside: "))
    videos = manifests.scan(str(out), "videos").collect()
    joined = truth.join(videos, on=["path", "member"], how="full", suffix="_built")
    assert joined.height == truth.height == videos.height
    for row in joined.iter_rows(named=True):
        assert row["label"] == row["label_built"]
        assert row["method_built"] == ("pristine" if row["method"] == "original" else None)
        assert row["status"] == "ok"
        assert row["frames"] == row["frames_total"] == row["frames_sampled"] == row["faces_seen"]
        assert (row["width"], row["height"]) == (row["width_built"], row["height_built"])
        assert row["split_official"] in ({"test"} if row["split"] == "test" else {"train", "val"})
        assert row["split_built"] == row["split_official"]
    by_split = videos.group_by("split").agg(pl.col("label").n_unique(), pl.col("path").unique())
    assert set(by_split["split"]) == {"train", "val", "test"}
    assert by_split["label"].to_list() == [2, 2, 2]
    assert by_split["path"].explode().is_unique().all()
    assert verify.verify(str(out), deep=True).problems == []
    samples = manifests.scan(str(out)).collect()
    for row in samples.head(5).iter_rows(named=True):
        video = videos.row(by_predicate=pl.col("video_id") == row["video_id"], named=True)
        with tarfile.open(root / video["path"]) as tar:
            member = tar.extractfile(f"{video['member']}/{row['frame_index']}.png")
            assert member is not None
            original = codec.decode(member.read())
        difference = codec.decode(read.fetch(str(out), row)).astype(int) - original
        assert abs(difference).mean() < 2  # the same picture except for JPEG
