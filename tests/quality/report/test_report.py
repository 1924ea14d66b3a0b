"""The report: planted faults stand on the first screen, and the page holds in a browser."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from semblance import manifests
from semblance.manifests import build_files, leaks, tables
from semblance.quality.audit import findings
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import verdict
from semblance.quality.measures import registry
from semblance.quality.report import gallery, statistics
from semblance.quality.report import page as report
from tests.conftest import HANG, REPOSITORY, Run
from tests.quality import planted
from tests.quality.browser import Seen, opened
from tests.quality.planted import MARKUP, Faults

METHODS = ("Swap", f"Puppet {MARKUP}")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fault in one build of thirty families."""
    folder = tmp_path_factory.mktemp("faulty")
    plan = planted.build(folder / "first", 30)
    of = {split: rows["family_id"].unique().sort().to_list() for (split,), rows in plan.group_by("split")}
    faults = Faults(
        shortcut=True,
        copies={of["test"][0]: of["train"][0]},
        unforged=frozenset({"folder-fake_7_1"}),
        unequal=True,
        failed=frozenset({"folder-fake_9_1", "folder-fake_11_2"}),
    )
    planted.build(folder / "out", 30, faults, methods=METHODS)
    return folder / "out"


@pytest.fixture(scope="module")
def page(faulty: Path, run: Run) -> tuple[Path, str]:
    """The page of the faulty build, and what the command said."""
    said = run("quality", "report", faulty, "--compare", faulty).stdout
    return faulty / "report/index.html", said


def sound(seen: Seen, path: Path) -> None:
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith("data:")] == [path.resolve().as_uri()]
    assert seen.broken_pictures() == 0
    assert seen.faults() == []


def test_the_judge_of_pages_sees_faults(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<title>x</title><img src='data:,'><p style='color:#ccc;background:#fff'>pale</p><input><h4>a</h4>")
    with opened(page) as seen:
        found = " ".join(seen.faults())
    for rule in ("image-alt", "color-contrast", "label", "html-has-lang", "picture without words"):
        assert rule in found


def recounts(seen: Seen, out: Path) -> int:
    """Every slider against Polars at several places; returns how many places were tried."""
    kept = manifests.scan(str(out)).filter(pl.col("verdict") == "keep")
    gone = manifests.scan(str(out), "rejects").filter((pl.col("unit") == "face") & (pl.col("stage") == "gate"))
    own = {one.name: one for one in registry.DRAWN}
    tried = 0
    for one in seen.page.evaluate("() => JSON.parse(document.getElementById('bins').textContent)"):
        column = pl.sql_expr(own[one["name"]].expression).cast(pl.Float64)
        alone = pl.col("reasons").list.eval(~pl.element().is_in([*own[one["name"]].reasons, "pair"])).list.any().not_()
        rows = pl.concat(
            [kept.select("label", value=column), gone.filter(alone).select("label", value=column)]
        ).collect()
        last = len(one["edges"]) - 1
        places = {"low": 0, "high": last}
        for side in ("low", "high"):
            if one[side] is None:
                continue
            places = {name: one["edges"].index(one[name]) if one[name] is not None else places[name] for name in places}
            for place in {0, last, last // 3, one["edges"].index(one[side])}:
                said = seen.slide(one["name"], side, place)
                bounds = {name: one["edges"][p] for name, p in (places | {side: place}).items()}
                inside = (pl.col("value") >= bounds["low"]) & (pl.col("value") < bounds["high"])
                wanted = rows.filter(inside | pl.col("value").is_null())
                for label, kind in ((0, "real"), (1, "fake")):
                    if rows.filter(label=label).height:
                        assert int(said[kind]) == wanted.filter(label=label).height, (one["name"], side, bounds)
                tried += 1
            seen.slide(one["name"], side, places[side])
    return tried


def test_every_planted_fault_is_named_on_the_first_screen(page: tuple[Path, str], faulty: Path) -> None:
    with opened(page[0]) as seen:
        first = seen.page.locator(".alarms").inner_text()
    for words in (
        "Shortcut, all fakes: acquisition alone separates fakes from reals",
        "compression (AUC 1.00: real c40 (100%), fake c23 (100%))",
        "1 near-duplicate pair in more than one of train, val and test under family",
        "1 fake with the pictures of a real video",
        "folder-fake_7_1",
        "Unequal filter, skin brightness (estimate, reals)",
        "group 'dark' are rejected",
        "Loosen gates.brightness",
        "2 of 90 videos failed",
    ):
        assert words in first, words
    said = json.loads((faulty / "report/report.json").read_text())
    assert said["shortcuts"][0]["acquisition"]["auc"] > 0.99
    assert [row["flag"] for row in said["label_noise"] if row["video_id"] == "folder-fake_7_1"] == [
        "unchanged",
        "equals_real",
    ]
    assert "most dataset terms prohibit redistribution" in page[1]


def test_the_page_holds_in_a_browser(page: tuple[Path, str], faulty: Path) -> None:
    for width, dark in ((1200, False), (390, True)):
        with opened(page[0], width=width, dark=dark) as seen:
            sound(seen, page[0])
            assert seen.page.title().startswith("BROKEN: 2 broken and ")
            text = seen.page.locator("body").inner_text()
            assert '<img src=x onerror="document.title=1">&\\x1b[31m' in text, "markup does not show as text"
            assert "\x1b" not in text
            assert seen.page.locator("img").count() > 30
            if not dark:
                assert recounts(seen, faulty) >= 12


def test_a_page_to_share_has_no_picture_path_or_id(tmp_path: Path) -> None:
    faulty = tmp_path / "few"
    faults = Faults(unforged=frozenset({"folder-fake_7_1"}), failed=frozenset({"folder-fake_9_1"}))
    planted.build(faulty, 12, faults, methods=METHODS)
    written = report.write(str(faulty), share=True)
    text = Path(written.url).read_text()
    assert "data:image" not in text
    assert str(faulty) not in text
    for table in ("videos", "samples"):
        for name in manifests.scan(str(faulty), table).collect()["video_id"].unique():
            assert name not in text
    assert ".mp4" not in text
    with opened(Path(written.url)) as seen:
        sound(seen, Path(written.url))
        assert seen.page.locator("img").count() == 0
        assert "1 of 36 videos failed" in seen.page.locator(".alarms").inner_text()


def test_a_broken_law_stands_on_the_first_screen(tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 6)
    assert not audit([str(out)]).broken
    tar = next(out.glob("shards/train/*.tar"))
    tar.write_bytes(tar.read_bytes()[:-10240])
    (broken,) = (one for one in report.write(str(out)).findings if one.level == "broken")
    assert broken.what.startswith("1 problem")
    assert tar.name in broken.ids[0]


def test_the_figures_add_up(faulty: Path) -> None:
    counted = statistics.counts(str(faulty))
    total = statistics.totals(str(faulty))
    assert sum(row["cells"][-1]["crops"] for row in counted["rows"]) == total["kept"]
    assert total["faces"] == total["kept"] + total["rejected"]
    steps = statistics.funnel(str(faulty))
    for row in steps:
        assert row["faces"] == row["kept"] + sum(count for unit, _, count in row["reasons"] if unit == "face")
    gates = build_files.description(str(faulty))["recipe"]["gates"]
    for one in statistics.distributions(str(faulty), gates):
        assert list(one.edges) == sorted(set(one.edges))
        assert {one.low, one.high} - {None} <= set(one.edges)
        assert sum(one.real) + one.unknown_real <= total["faces"]


def test_people_in_two_splits_are_named_where_no_split_keeps_them_apart(tmp_path: Path) -> None:
    """Under ``family`` a warning that opens the verdict, under ``identity`` and ``official`` a leak."""
    planted.build(tmp_path / "out", 8)
    plan = tables.read_plan(str(tmp_path / "out"))
    assert leaks.findings(plan, "family") == []
    named = plan.with_columns(target_id=pl.lit("ann"))
    for protocol, level in (("family", "warning"), ("official", "broken"), ("identity", "broken")):
        (one,) = leaks.findings(named, protocol)
        assert (one.level, one.ids) == (level, ("ann",))
        assert "1 person" in one.what
    named.write_parquet(tmp_path / "out/plan.parquet")
    judged = audit([str(tmp_path / "out")])
    assert verdict(judged).startswith(
        f"WARNING: {tmp_path / 'out'} under family: NOT promised: family does not separate people"
    )


def test_what_the_gates_emptied_is_reported(tmp_path: Path) -> None:
    """A compression, and a method, without one crop in a split that has others; an empty split."""
    out = tmp_path / "out"
    planted.build(out, 12)
    assert list(findings.of_videos(manifests.scan(str(out), "videos"), "family", set())) == []
    for part in (out / "manifests/videos").rglob("*.parquet"):
        frame = pl.read_parquet(part)
        gone = (pl.col("split") == "test") & (pl.col("method") == "Puppet") | (pl.col("split") == "val")
        frame.with_columns(crops_kept=pl.when(gone).then(0).otherwise("crops_kept").cast(pl.Int64)).cast(
            frame.schema
        ).write_parquet(part)
    found = [one for one in audit([str(out)]).findings if one.law == "coverage"]
    assert {one.level for one in found} == {"warning"}
    said = " ".join(one.what for one in found)
    assert "val has no real (3 videos, none with a kept crop) and no fake (6 videos, none with a kept crop)" in said
    assert "test has no crop of Puppet (" in said
    assert "train" not in said


def test_a_damaged_table_is_one_sentence(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    planted.build(out, 4)
    part = next((out / "manifests/videos").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-30])
    for words in (("report", out), ("shortcuts", out), ("drift", out, out)):
        said = run("quality", *words, expect=1).stderr
        assert "A table of the build is damaged" in said, words
        assert "Traceback" not in said
        assert "--retry damaged" in said


def test_copies_of_what_is_tested_can_be_left_out(tmp_path: Path, run: Run) -> None:
    """``quality audit --keep`` names all videos but those; what is packed from it holds no copied clip any more."""
    plan = planted.build(tmp_path / "first", 12)
    of = {split: rows["family_id"].unique().sort().to_list() for (split,), rows in plan.group_by("split")}
    out, keep, left = (tmp_path / name for name in ("out", "keep.parquet", "left"))
    planted.build(out, 12, Faults(copies={of["test"][0]: of["train"][0]}))
    said = run("quality", "audit", out, "--keep", keep, expect=1).stdout
    kept = set(pl.read_parquet(keep)["video_id"])
    assert set(plan["video_id"]) - kept == {of["train"][0]}
    assert f"{len(kept)} videos to keep" in said
    run("shards", "repack", out, "--split", "family", "--keep", keep, "--to", left)
    run("quality", "audit", left)


def test_a_clean_build_raises_no_alarm(tmp_path: Path) -> None:
    planted.build(tmp_path / "out", 40)
    judged = audit([str(tmp_path / "out")])
    assert [one for one in judged.findings if one.level != "note"] == []
    assert verdict(judged).startswith(f"SOUND: {tmp_path / 'out'} under family")
    assert report.write(str(tmp_path / "out")).findings == judged.findings


def test_a_page_of_the_demo(built: Path) -> None:
    written = report.write(str(built))
    try:
        with opened(Path(written.url), width=390) as seen:
            sound(seen, Path(written.url))
            assert recounts(seen, built) >= 12
            text = seen.page.locator("body").inner_text()
            assert "SYNTHETIC" in text
            assert "too few families" in text.lower()
        assert written.bytes < report.MOST
    finally:
        for name in ("index.html", "report.json"):
            (built / "report" / name).unlink()
        (built / "report").rmdir()


def test_no_build_no_page(run: Run, tmp_path: Path) -> None:
    said = run("quality", "report", tmp_path / "nothing", expect=1).stderr
    assert "is not a build" in said
    assert not (tmp_path / "nothing").exists()


THERE = """
import sys
import fsspec
from semblance.quality.report import page

fs = fsspec.filesystem("s3")
fs.put(f"{sys.argv[1]}/", "bucket/report/", recursive=True)
fs.invalidate_cache()
page.write("s3://bucket/report")
fs.invalidate_cache()
fs.get("bucket/report/report/index.html", sys.argv[2])
"""


def test_a_page_of_a_build_on_s3_is_that_of_the_same_on_disk(s3: dict[str, str], tmp_path: Path) -> None:
    out, back = tmp_path / "out", tmp_path / "back.html"
    planted.build(out, 4)
    command = [sys.executable, "-c", THERE, str(out), str(back)]
    done = subprocess.run(command, cwd=REPOSITORY, env=s3, capture_output=True, text=True, timeout=HANG, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = report.write(str(out))
    here = Path(written.url).read_text().replace(str(out), "s3://bucket/report")
    assert back.read_text() == here


@pytest.mark.shared
@pytest.mark.parametrize("dataset", ["ffpp", "dfdc", "celebdf", "wilddeepfake"])
def test_a_page_of_each_sample_collection(shared: Path, run: Run, tmp_path: Path, dataset: str) -> None:
    out = tmp_path / "out"
    root = shared / "data" / dataset
    run("ingest", "build", "--dataset", dataset, "--root", root, "--out", out, "--set", "sampling.n=4", "--limit", 6)
    written = report.write(str(out))
    with opened(Path(written.url)) as seen:
        sound(seen, Path(written.url))
        recounts(seen, out)
        assert seen.page.locator("img").count() > 4
        assert "Shortcut," not in seen.page.locator(".alarms").inner_text()
    broken = [one for one in written.findings if one.level == "broken"]
    assert not [one for one in broken if one.law != leaks.LAW]


def test_captions_say_whose_face_it_is_and_what_is_known_of_it() -> None:
    known = {"person": 1, "label": 1, "face_label": 1, "face_label_by": "mask"}
    older = {"person": None, "face_label_by": None}
    assert list(gallery.whose(known)) == ["person 1", "altered (mask)"]
    assert list(gallery.whose(known | older)) == ["altered"]
    assert list(gallery.whose(known | {"face_label": None, "face_label_by": None})) == ["person 1", "no face label"]
    assert list(gallery.whose(older | {"label": 0, "face_label": 0})) == []
