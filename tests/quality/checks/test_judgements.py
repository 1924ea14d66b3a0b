"""Label noise, fairness, drift and copies: what they find, against independent referees."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semblance import manifests
from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.user_tables import read_user_table
from semblance.quality import builds as audited
from semblance.quality.checks import drift, filter_fairness, label_noise
from semblance.quality.duplicates import clusters
from semblance.quality.duplicates.equal_pictures import equal_pictures
from tests.conftest import Run
from tests.quality import planted
from tests.quality.browser import opened
from tests.quality.planted import Faults


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve families; one fake shows its original, and the real of family 2 is a copy of a fake-free family 4."""
    out = tmp_path_factory.mktemp("few") / "out"
    faults = Faults(unforged=frozenset({"folder-fake_7_1"}), copies={"folder-real_2": "folder-real_4"})
    planted.build(out, 12, faults)
    return out


def test_label_noise_is_found_written_and_joined(few: Path, run: Run) -> None:
    said = run("quality", "flag", few).stdout
    assert "unchanged: 1 video:" in said
    rows = manifests.scan(str(few), "flags").collect()
    assert set(rows.filter(flag="equals_real")["video_id"]) == {"folder-fake_7_1"}
    assert set(rows.filter(flag="unchanged")["video_id"]) == {"folder-fake_7_1"}
    assert rows.filter(flag="equals_fake").is_empty()  # its own original is not in doubt
    unchanged = rows.filter(flag="unchanged").row(0, named=True)
    peaks = manifests.scan(str(few)).filter(pl.col("video_id") == "folder-fake_7_1").collect()["change_peak"]
    assert unchanged["value"] == pytest.approx(peaks.median())
    assert unchanged["limit"] == 3.0
    flagged = manifests.scan(str(few)).filter(pl.col("flags").list.len() > 0).collect()
    assert set(flagged["video_id"]) == {"folder-fake_7_1"}
    before = rows.sort("video_id", "flag")
    label_noise.write(str(few), label_noise.judge(str(few)))
    assert manifests.scan(str(few), "flags").collect().sort("video_id", "flag").equals(before)


def test_a_real_that_has_the_pictures_of_another_familys_fake_is_in_doubt(tmp_path: Path) -> None:
    out = tmp_path / "out"
    faults = Faults(unforged=frozenset({"folder-fake_4_1"}), copies={"folder-real_2": "folder-real_4"})
    planted.build(out, 8, faults)
    rows = {(row["video_id"], row["flag"]) for row in label_noise.judge(str(out)).rows}
    assert ("folder-real_2", "equals_fake") in rows
    assert ("folder-fake_4_1", "equals_real") in rows
    assert ("folder-real_4", "equals_fake") not in rows


def test_what_one_compression_shows_clears_the_other() -> None:
    names = ("video_id", "track", "label", "family_id", "method", "target_id", "donor_id", "compression", "change_peak")
    rows = [
        ("a23", 0, 1, "a", "Swap", "a", "b", "c23", 8.0),
        ("a40", 0, 1, "a", "Swap", "a", "b", "c40", 2.0),  # cleared by a23
        ("b23", 0, 1, "b", "Swap", "b", "c", "c23", 2.5),
        ("b40", 0, 1, "b", "Swap", "b", "c", "c40", 2.0),  # nothing clears these two
        ("c23", 0, 1, "c", "Swap", "c", None, "c23", 8.0),
        ("c40", 0, 1, "c", "Swap", "c", None, "c40", 2.0),  # which fake it is is not known: not cleared
        ("d23", 0, 1, "d", "Swap", "d", "e", "c23", 8.0),
        ("e23", 0, 1, "d", "Swap", "d", "e", "c23", 2.0),  # another fake of the same kind: not cleared
        ("f40", 0, 1, "f", "Swap", "f", "g", "c40", None),
        ("r23", 0, 0, "a", "pristine", "a", None, "c23", None),
    ]
    older = pl.DataFrame(rows, schema=names, orient="row").lazy()
    none = {name: pl.lit(None, pl.String) for name in ("face_label_by", "guide")}
    samples = older.with_columns(person=pl.lit(None, pl.Int16), **none)
    found, known, refused = label_noise._unchanged(samples, 3.0)
    assert [row["video_id"] for row in found] == ["b23", "b40", "c40", "e23"]
    assert (known, refused) == (8, {"guides off": 1})


def test_a_person_of_several_tracks_is_one_and_a_face_that_stands_clear_is_altered() -> None:
    names = ("video_id", "track", "person", "face_label_by", "change_peak", "guide")
    rows = [
        # one short track is above
        *(("cut", track, 0, None, peak, "original") for track, peak in enumerate((2.0, 2.0, 4.0))),
        *(("clear", 0, person, by, 2.0, "original") for person, by in enumerate(("change", None))),
        *(("two", person, person, by, peak, "original") for person, by, peak in ((0, None, 2.0), (1, "change", 8.0))),
        ("masked", 0, 0, "mask", 2.0, "original"),
        *((name, 0, 0, None, None, "fps") for name in ("fast", "slow")),
        ("alone", 0, 0, "only_face", None, "no_original"),
        ("late", 0, 0, None, None, "original"),
    ]
    fake = {"label": 1, "family_id": "f", "method": "Swap", "target_id": None, "donor_id": None, "compression": None}
    samples = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        *(pl.lit(value).alias(name) for name, value in fake.items())
    )
    found, known, refused = label_noise._unchanged(samples.lazy(), 3.0)
    assert [row["video_id"] for row in found] == ["cut"]
    assert known == 4
    assert refused == {"another moment": 1, "fps": 2, "no_original": 1}


def test_a_fake_whose_altered_face_was_rejected_is_not_unchanged(few: Path, tmp_path: Path) -> None:
    """What was kept of it shows the untouched person only; a doubtful face is nobody and decides nothing."""
    out = tmp_path / "out"
    shutil.copytree(few, out)
    assert {row["flag"] for row in label_noise.judge(str(out)).rows} == {"unchanged", "equals_real"}
    kept = manifests.scan(str(out), flags=False).filter(pl.col("video_id") == "folder-fake_7_1").head(3).collect()
    (part, *_) = sorted((out / "manifests/rejects").glob("*.parquet"))
    rejects = pl.read_parquet(part)
    face = {"person": 7, "face_label": 1, "face_label_by": "change", "change_peak": 5.6, "unit": "face"}
    for reason, unchanged in (("doubtful", True), ("small", False)):
        rows = kept.select(name for name in rejects.columns if name in kept.columns)
        new = rows.with_columns(
            reason=pl.lit(reason), reasons=pl.lit([reason]), **{k: pl.lit(v) for k, v in face.items()}
        )
        new = new.select(pl.col(name).cast(kind) for name, kind in rejects.schema.items() if name in new.columns)
        pl.concat([rejects, new], how="diagonal").write_parquet(part)
        flags = {row["flag"] for row in label_noise.judge(str(out)).rows}
        assert ("unchanged" in flags) == unchanged


def test_fakes_without_a_stored_crop_are_counted(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    planted.build(out, 4, Faults(failed=frozenset({"folder-fake_1_1", "folder-fake_2_2"})))
    kept = manifests.scan(str(out)).filter(pl.col("label") == 1).collect()["video_id"].n_unique()
    fakes = f"{8 - kept} fakes have" if kept < 7 else "1 fake has"
    assert f"{fakes} no stored crop" in run("quality", "flag", out).stdout


def test_a_faint_forgery_is_not_its_original(tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 6, Faults(faint=frozenset({"folder-fake_3_1"})))
    judged = label_noise.judge(str(out))
    same = manifests.scan(str(out)).filter(pl.col("family_id") == "folder-real_3").collect()
    hashes = [set(same.filter(video_id=name)["phash"]) for name in ("folder-real_3", "folder-fake_3_1")]
    assert hashes[0] == hashes[1], "the hashes no longer hold them for one"
    assert judged.compared >= 2
    assert not judged.rows


def test_a_third_partys_list(few: Path, run: Run, tmp_path: Path) -> None:
    names = manifests.scan(str(few), "videos").collect().sort("video_id")
    some = names["path"].str.split("/").list.last()[:3].to_list()
    file = tmp_path / "list.csv"
    pl.DataFrame(
        {"clip": [*some, "absent.mp4", some[0]], "audio_altered": ["True", "True", "False", "True", "x"]}
    ).write_csv(file)
    with pytest.raises(SemblanceError, match="several videos"):
        label_noise.from_list(str(few), str(file), "audio_altered")  # file names recur in every family
    pl.DataFrame(
        {"clip": [*names["path"][:3], "absent.mp4"], "audio_altered": ["True", "1", "False", "True"]}
    ).write_csv(file)
    assert "2 videos; 1 listed in" in run("quality", "flag", few, "--list", file, "--flag", "audio_altered").stdout
    rows = manifests.scan(str(few), "flags").filter(pl.col("flag") == "audio_altered").collect()
    assert sorted(rows["video_id"]) == sorted(names["video_id"][:2])
    assert set(rows["by"]) == {"list.csv"}
    (few / "manifests/flags/list-audio_altered.parquet").unlink()
    with pytest.raises(UsageError):
        label_noise.from_list(str(few), str(file), "../x")
    pl.DataFrame({"clip": ["nothing.mp4"]}).write_csv(file)
    with pytest.raises(SemblanceError, match="No column"):
        label_noise.from_list(str(few), str(file), "audio")
    assert "must be given together" in run("quality", "flag", few, "--list", file, expect=2).stderr


@pytest.mark.shared
def test_dfdcs_list_of_altered_sound_can_be_read(shared: Path) -> None:
    frame = read_user_table(str(shared / "realmeta/dfdc/train_audio_altered.csv"))
    assert frame.filter(pl.col("audio_altered").str.to_lowercase() == "true").height > 1000


def test_copies_are_found_and_families_are_not(few: Path) -> None:
    builds = audited.read([str(few)], plan=False)
    numbered = audited.videos(builds)
    hashed = audited.samples(builds, numbered, 5)
    found = equal_pictures(hashed, numbered)
    name = dict(numbered.select("number", "video_id").iter_rows())
    pairs = {tuple(sorted((name[a], name[b]))) for a, b in found.select("a", "b").iter_rows()}
    assert pairs == {("folder-real_2", "folder-real_4")}
    con = duckdb.connect()
    table = f"read_parquet('{few}/manifests/samples/*.parquet')"
    referee = con.execute(
        f"SELECT DISTINCT least(a.video_id, b.video_id) x, greatest(a.video_id, b.video_id) y FROM {table} a "
        f"JOIN {table} b ON a.sha256 = b.sha256 AND a.family_id != b.family_id"
    ).fetchall()
    assert referee == [("folder-real_2", "folder-real_4")]
    assert equal_pictures(hashed.head(0), numbered).is_empty()


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] < pair[1]), max_size=20))
@settings(max_examples=80)
def test_clusters_are_what_pairs_join(pairs: list[tuple[int, int]]) -> None:
    groups: list[set[int]] = []
    for pair in pairs:
        touched = [group for group in groups if group & set(pair)]
        groups = [group for group in groups if group not in touched] + [set(pair).union(*touched)]
    names = [(f"v{a:02}", f"v{b:02}") for a, b in pairs]
    frame = pl.DataFrame(names, schema={"video": pl.String, "other": pl.String}, orient="row")
    found = clusters.clusters(frame)
    assert {frozenset(one) for one in found} == {frozenset(f"v{one:02}" for one in group) for group in groups}
    assert found == sorted(found, key=lambda one: (-len(one), one))


@given(st.floats(0, 1), st.integers(1, 10_000))
@settings(max_examples=50)
def test_wilsons_interval_holds_its_equation(rate: float, count: int) -> None:
    """Its ends are where the score test just fails: |rate - p| = z sqrt(p (1 - p) / n)."""
    low, high = filter_fairness.wilson(rate, count)
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            assert abs(rate - end) == pytest.approx(
                filter_fairness.Z * math.sqrt(end * (1 - end) / count), rel=1e-6, abs=1e-6
            )


def seen(families: int, seed: int, gap: float, spread: float = 0.2) -> pl.LazyFrame:
    """Faces of reals in three bands, rejected at a rate that varies by family, ``gap`` higher in the first band."""
    chance = np.random.default_rng(seed)
    rows = []
    for family in range(families):
        band = family % 3
        rate = min(max(0.2 + chance.normal(0, spread) + gap * (band == 0), 0), 1)
        rows += [
            {
                "video_id": f"v{family}",
                "family_id": f"f{family}",
                "dataset": "folder",
                "label": 0,
                "method": "pristine",
                "ita": (-50.0, 20.0, 50.0)[band],
                "side": 150.0,
                "reason": "dark" if chance.random() < rate else None,
            }
            for _ in range(16)
        ]
    return pl.LazyFrame(rows, schema_overrides={"reason": pl.String})


def test_an_unequal_filter_is_named_and_an_equal_one_is_not() -> None:
    found = filter_fairness.groups(seen(90, 1, 0.5))
    assert [one.group for one in found if one.warning] == ["dark"]
    assert "loosen gates.brightness" in filter_fairness.warnings(found)[0]
    rows = seen(90, 1, 0.5).collect()
    for one in found:
        if one.by.startswith("skin"):
            low, high = {name: (a, b) for name, a, b in filter_fairness.ITA_BANDS}[one.group]
            own = rows.filter((pl.col("ita") >= low) & (pl.col("ita") < high))
            assert (one.faces, one.rejected) == (own.height, own["reason"].count())
    alarms = sum(bool(filter_fairness.warnings(filter_fairness.groups(seen(60, seed, 0.0)))) for seed in range(200))
    assert alarms <= 10  # 5 % of three groups each, and a gap of a tenth besides
    print(f"{alarms} of 200 equal filters raised an alarm")


def test_faces_of_one_video_are_no_independent_witnesses() -> None:
    """All or nothing by family: the interval must be that of families, not of faces."""
    rows = pl.LazyFrame(
        {"family_id": [f"f{n // 100}" for n in range(3000)], "group": "a", "reason": ["dark"] * 1500 + [None] * 1500}
    )
    one = filter_fairness._rates("x", rows, True)[0]
    low, high = filter_fairness.wilson(0.5, 30)
    assert one.low == pytest.approx(low, abs=0.02)
    assert one.high == pytest.approx(high, abs=0.02)


def test_attributes_are_groups_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    pl.DataFrame(
        {"video_id": [f"v{n}" for n in range(90)], "age": ["old" if n % 3 == 0 else "young" for n in range(90)]}
    ).write_csv(file)
    found = filter_fairness.groups(seen(90, 1, 0.5), filter_fairness.read_attributes(str(file)))
    assert [one.group for one in found if one.by == "age" and one.warning] == ["old"]
    pl.DataFrame({"clip": ["v1"]}).write_csv(file)
    with pytest.raises(SemblanceError, match="needs a column video_id"):
        filter_fairness.read_attributes(str(file))


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=2, max_size=8))
@settings(max_examples=50)
def test_the_stability_index_is_symmetric_positive_and_nil_for_equals(pairs: list[tuple[int, int]]) -> None:
    before, after = ([one[side] + 1 for one in pairs] for side in (0, 1))
    assert drift.stability(before, before) == pytest.approx(0)
    assert drift.stability(before, after) >= 0
    assert drift.stability(before, after) == pytest.approx(drift.stability(after, before))
    p, q = np.array(before) / sum(before), np.array(after) / sum(after)
    if min(p.min(), q.min()) > 1e-4:
        assert drift.stability(before, after) == pytest.approx(float(((q - p) * np.log(q / p)).sum()))


def test_drift_tells_what_moved_from_what_did_not() -> None:
    chance = np.random.default_rng(1)
    base = pl.Series(chance.normal(0, 1, 4000))
    for shift, verdict in ((0.0, "stable"), (0.4, "moderate"), (1.0, "large")):
        found = drift.compare("samples", "blur", base, pl.Series(chance.normal(shift, 1, 4000)), numbers=True)
        assert found.verdict == verdict
        assert found.psi == pytest.approx(shift**2, abs=0.1)  # of two normals with one spread: its closed form
    few, twelve = pl.Series(chance.normal(0, 1, 15)), pl.Series(chance.normal(0, 1, 12))
    assert drift.compare("videos", "bit_rate", few, twelve, numbers=True).verdict == "too few"
    far = drift.compare("videos", "bit_rate", few, twelve + 9, numbers=True)
    assert far.verdict == "large", "what chance does not give is told of few videos too"
    names = drift.compare(
        "videos", "codec", pl.Series(["a"] * 90 + ["b"] * 10), pl.Series(["b"] * 90 + ["c"] * 10), numbers=False
    )
    assert names.verdict == "large"
    same = pl.Series([72] * 30)  # the tenths of one value alone hold every other
    for other, verdict in (([64] * 30, "large"), ([80] * 30, "large"), ([72] * 25, "stable")):
        assert drift.compare("videos", "gop", same, pl.Series(other), numbers=True).verdict == verdict
    guide = drift.compare("samples", "guide", pl.Series(["original", None]), pl.Series(["original"]), numbers=False)
    assert (guide.before, guide.after) == ("original (50%)", "original (100%)")
    nothing = pl.Series([None, None], dtype=pl.Float64)
    assert drift.compare("samples", "ita", nothing, nothing, numbers=True).verdict == "unknown"
    gone = drift.compare("samples", "ita", pl.Series([1.0, 2.0]), nothing, numbers=True)
    assert (gone.verdict, gone.statistic) == ("large", None)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), sizes=st.tuples(st.integers(100, 400), st.integers(100, 400)))
def test_the_bound_of_chance_is_kept_19_times_of_20(seed: int, sizes: tuple[int, int]) -> None:
    """Of one population, in bins filled alike: 100 draws stay below the 95 % bound but for a few."""
    draw = np.random.default_rng(seed)
    indices = [drift.stability(*(draw.multinomial(n, [0.1] * 10).tolist() for n in sizes)) for _ in range(100)]
    above = sum(one > drift.chance(10, *sizes) for one in indices)
    assert above <= 20


def test_the_drift_page_and_json(few: Path, run: Run, tmp_path: Path) -> None:
    page, file = tmp_path / "drift.html", tmp_path / "drift.json"
    said = run("quality", "drift", few, few, "--page", page, "--json", file).stdout
    assert "large" not in said.rsplit("\n", 2)[0]
    assert all(row["verdict"] in ("stable", "unknown") for row in json.loads(file.read_text()))
    with opened(page, width=390) as browser:
        assert browser.complaints == []
        assert browser.requests == [page.as_uri()]
        assert browser.faults() == []
        assert "No column changed" in browser.page.locator("body").inner_text()
