"""A benchmark from a suite to its page: figures are those of the evaluations, kinds are checked, the page holds."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.training.benchmark import benchmark, columns, page, record, sections, tables
from semblance.training.benchmark import suite as suites
from semblance.training.benchmark.published import figures
from semblance.training.benchmark.result import Benchmark
from semblance.training.benchmark.suite import Degrade, Suite
from semblance.training.cli import app
from semblance.training.evaluation.report.blocks import Table
from tests.conftest import REPOSITORY
from tests.quality.browser import opened
from tests.training import builds, untrained
from tests.training.evaluation.test_page import CUT, CUT_IN_FRAMES, sound

DATE = "2026-11-30 09:00 UTC"
PUBLISHED = json.loads((REPOSITORY / "docs/benchmark.schema.json").read_text("utf-8"))
VENDOR = "def bright(crops):\n    return [float(crop.mean()) / 255 for crop in crops]\n"
NAMES = ("all", "small", "c40", "left out", "seen method", "dfdc", "jpeg")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build with enough test families for intervals."""
    plan = builds.Plan(families=22, compressions=("c23", "c40"), frames=2)
    return builds.make(tmp_path_factory.mktemp("many") / "ffpp", plan)


@pytest.fixture(scope="module")
def folder(many: Path, dfdc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two repetitions of a recipe, a run of another and an ensemble, on one build; an external function; a suite."""
    folder = tmp_path_factory.mktemp("suite")
    for seed in (0, 1):
        untrained.make(folder / "runs" / f"net-seed{seed}", [many], f"seed={seed}", seed=seed, gain=9)
    untrained.make(folder / "runs" / "other", [many], "epochs=7", seed=5, gain=9)
    named = [part for run in ("net-seed1", "other") for part in ("--run", str(folder / "runs" / run))]
    made = CliRunner().invoke(app, ["ensemble", "--data", str(many), *named, "--to", str(folder / "runs" / "both")])
    assert made.exit_code == 0, made.output
    (folder / "vendor.py").write_text(VENDOR)
    (folder / "suite.yaml").write_text(
        f"""
title: "Nets & <others>"
baseline: other
draws: 60
rows:
  - {{name: net, runs: runs/net-seed*}}
  - {{name: other, runs: runs/other}}
  - {{name: both, runs: runs/both}}
  - {{name: a vendor, external: "vendor.py:bright"}}
columns:
  - {{name: all, data: {many}}}
  - {{name: small, data: {many}, kind: compressed, compression: c40, degrade: null}}
  - {{name: c40, data: {many}, compression: c40, method: [Deepfakes, FaceSwap]}}
  - {{name: left out, data: {many}, kind: unseen method, method: FaceSwap}}
  - {{name: seen method, data: {many}, kind: seen, method: Deepfakes, compression: c23}}
  - {{name: dfdc, data: {dfdc}, kind: unseen dataset}}
  - {{name: jpeg, data: {many}, kind: low quality, degrade: {{resize: 0.5, jpeg: 30}}}}
""",
        "utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def to(folder: Path) -> Path:
    return folder / "page"


@pytest.fixture(scope="module")
def result(folder: Path, to: Path) -> Benchmark:
    return benchmark.run(suites.read(folder / "suite.yaml"), to, lambda _: None, date=DATE)


def test_cells_are_the_figures_of_evaluations(result: Benchmark, to: Path) -> None:
    assert tuple(one.column.name for one in result.measured) == NAMES
    cells = {(one.row, one.column): one for one in result.cells}
    places = {
        "all": ("ffpp", None, None),
        "small": ("ffpp", "c40", None),
        "c40": ("ffpp", "c40", None),
        "seen method": ("ffpp", "c23", "Deepfakes"),
        "dfdc": ("dfdc", None, None),
    }
    for name, place in places.items():
        measured = next(one for one in result.measured if one.column.name == name)
        told = json.loads((to / measured.folder / "evaluation.json").read_text())
        rows = {
            (row["model"], row["level"]): row
            for row in told["rows"]
            if (row["dataset"], row["compression"], row["method"]) == place
        }
        for level in ("frame", "video", "video (mean)"):
            other, both = cells["other", name].figures[level], rows["other", level]["figures"]["auc"]
            assert (other.value, other.low, other.high) == (both["value"], both["low"], both["high"])
            over = [rows[run, level]["figures"]["auc"]["value"] for run in ("net-seed0", "net-seed1")]
            assert cells["net", name].figures[level].value == pytest.approx(np.mean(over))
            assert cells["net", name].spreads[level].sd == pytest.approx(np.std(over, ddof=1))
        cell = cells["other", name]
        assert (cell.scored, cell.listed) == (rows["other", "video"]["scored"], rows["other", "video"]["listed"])
        assert cells["a vendor", name].figures["video"].value == rows["a_vendor", "video"]["figures"]["auc"]["value"]
    assert cells["other", "all"].figures["video"].low is not None
    assert cells["other", "dfdc"].figures["video"].low is None


def test_a_method_is_judged_with_all_reals_of_the_column(result: Benchmark) -> None:
    one = next(one for one in result.measured if one.column.name == "left out")
    assert one.videos.group_by("label").len().sort("label").rows() == [(0, 22), (1, 22)]
    assert one.videos.filter(label=1)["method"].unique().to_list() == ["FaceSwap"]
    assert one.least == 11


def test_what_cells_count_as(result: Benchmark) -> None:
    roles = {(one.row, one.column): one.role for one in result.cells}
    assert [roles["other", name] for name in NAMES] == [
        *(None, "compressed", None, "unseen method", "seen", "unseen dataset", "low quality")
    ]
    assert {one.mark for one in result.cells if one.row == "a vendor"} == {"unknown"}
    across = {(one.row, one.role): one for one in result.consistencies}
    assert across.keys() == {
        (row, f"unseen {what}") for row in ("net", "other", "both") for what in ("method", "dataset")
    }
    assert across["net", "unseen method"].ratio.low is not None
    assert across["net", "unseen dataset"].ratio.low is None, "three families of dfdc are too few"
    assert {(one.row, one.gain.part if one.gain else None) for one in result.members} == {
        ("both", part) for part in ("seen", "unseen method", "unseen dataset")
    }
    verdicts = {(one.asked.split()[0], one.row, one.data.partition(":")[0]): one.verdict for one in result.answers}
    assert verdicts["cross-dataset", "net", "dfdc / seen method"] == "too few groups to tell"
    assert verdicts["gain", "net", "unseen method"] in ("met", "not met", "not shown")
    assert verdicts["balanced", None, "-"] == verdicts["latency", None, "-"] == "not measured"


def test_columns_of_a_build_share_one_evaluation(result: Benchmark, to: Path) -> None:
    assert {one.folder for one in result.measured} == {"columns/all", "columns/dfdc"}
    assert {one.name for one in (to / "columns").iterdir()} == {"all", "dfdc", "jpeg"}
    for link in sections.make(result)[0].blocks[1].lines[0][1:]:
        assert (to / link.link).is_file()


def test_degraded_crops_are_judged(result: Benchmark, to: Path) -> None:
    """Both changes are made, and in this order."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    change = {
        name: columns.transform(Degrade(**kinds))
        for name, kinds in (
            ("both", {"resize": 0.5, "jpeg": 30}),
            ("resize", {"resize": 0.5}),
            ("jpeg", {"jpeg": 30}),
        )
    }
    both, resized = (change[name](image, None, "") for name in ("both", "resize"))
    assert np.array_equal(both, change["jpeg"](resized, None, ""))
    assert not np.array_equal(both, resized)
    logits = {one.column.name: one.logits["other"]["logit"] for one in result.measured}
    assert logits["jpeg"].len() == logits["all"].len()
    assert not logits["jpeg"].equals(logits["all"])
    kept = pl.read_parquet(to / "columns" / "jpeg" / columns.DEGRADED)
    assert kept["model"].unique().sort().to_list() == ["a_vendor", "both", "net-seed0", "net-seed1", "other"]


def test_the_record_has_its_published_format(result: Benchmark, to: Path) -> None:
    """Run `training benchmark-schema > docs/benchmark.schema.json` and `... --markdown > docs/benchmark-json.md`."""
    Draft202012Validator.check_schema(PUBLISHED)
    assert record.json_schema() == PUBLISHED
    assert (REPOSITORY / "docs/benchmark-json.md").read_text("utf-8") == record.markdown()
    for one in [PUBLISHED, *PUBLISHED["$defs"].values()]:
        assert one["description"], "an object without a meaning"
        assert {*one["required"]} == {*one["properties"]}, "whatever is written is always there"
        assert all(field.get("description") for field in one["properties"].values())
    told = json.loads((to / "benchmark.json").read_text())
    Draft202012Validator(PUBLISHED).validate(told)
    assert len(told["cells"]) == len(result.cells) == 4 * len(NAMES)
    assert told["date"] == DATE


def test_tables_are_files_that_other_programs_read(result: Benchmark, to: Path) -> None:
    files = tables.files(result)
    assert {one.name for one in (to / "tables").iterdir()} == {name.rpartition("/")[2] for name in files}
    lines = list(csv.DictReader(io.StringIO(files["tables/benchmark-video.csv"])))
    assert [line["model"] for line in lines] == ["net", "other", "both", "a vendor"]
    cells = {(one.row, one.column): one for one in result.cells}
    assert float(lines[1]["all low"]) == cells["other", "all"].figures["video"].low
    assert float(lines[0]["dfdc sd"]) == cells["net", "dfdc"].spreads["video"].sd
    assert "average" not in files["tables/benchmark-video.csv"], "columns are not alike"
    assert pl.read_csv(io.StringIO(files["tables/gains.csv"])).height == len(result.gains) + len(result.members)


@pytest.mark.usefixtures("result")
def test_the_page_holds_in_a_browser(to: Path) -> None:
    file = to / "benchmark.html"
    assert "<script" not in file.read_text()
    for width, dark in ((1300, False), (390, True)):
        with opened(file, width=width, dark=dark) as seen:
            sound(seen, file)
            assert seen.page.evaluate(CUT) == []
            if not dark:
                assert seen.page.title() == "Nets & <others>"
                assert seen.page.locator(".apart").count() == 1
                assert seen.page.evaluate(CUT_IN_FRAMES) == []
                seen.page.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins
                seen.page.emulate_media(media="print")
                assert seen.page.evaluate(CUT_IN_FRAMES) == []
                assert seen.page.evaluate(CUT) == []


def test_every_table_is_whole_and_published_figures_are_apart(result: Benchmark) -> None:
    made = sections.make(result)
    assert [one.title for one in made] == [
        *("AUC by video", "Asked and measured", "Consistency", "Gain over the baseline", "Ensembles"),
        *("By mean and by frame", "Published elsewhere", "Rows and columns", "How to read this"),
    ]
    found = [block for section in made for block in section.blocks if isinstance(block, Table)]
    for one in found:
        assert one.lines
        assert {len(line) for line in one.lines} == {len(one.heading)}
    assert len({one.label for one in found}) == len(found)
    assert [one.label for one in found if one.apart] == ["Published figures"]
    without = result.suite.model_copy(update={"published": False})
    changed = Benchmark(**{name: getattr(result, name) for name in Benchmark.__slots__} | {"suite": without})
    assert "Published elsewhere" not in [one.title for one in sections.make(changed)]
    assert "**" not in page.html(result).partition("</style>")[2]
    assert "## Published elsewhere" in page.markdown(result)


def test_published_figures_are_what_their_sources_say() -> None:
    """Spot checks by hand, and that none is told as chosen without knowing."""
    found = {(one.method, one.dataset, one.level): one for one in figures()}
    assert found["Xception", "Celeb-DF v2", "frame"].auc == 0.737
    assert found["GenD (WACV 2026)", "DFDC", "video"].auc == 0.871
    rerun = found["DiCoME, rerun", "Celeb-DF v2", "video"]
    assert (rerun.auc, rerun.most, rerun.told) == (0.955, 0.965, "logs")
    assert all(0.5 < one.auc < 1 and (one.most is None or one.auc < one.most < 1) for one in found.values())
    told = {one.chosen_on_test: one.source for one in found.values() if one.source == "DeepfakeBench README"}
    assert told == {"by its code": "DeepfakeBench README"}
    assert {one.chosen_on_test for one in found.values() if one.source not in told.values()} == {"unknown"}


def asked(folder: Path, rows: Sequence[str], *more: str) -> Suite:
    text = "\n".join(
        ["draws: 0", "rows:", *(f"  - {row}" for row in rows), "columns:", *(f"  - {one}" for one in more)]
    )
    (folder / "other.yaml").write_text(text)
    return suites.read(folder / "other.yaml")


OTHER = "{name: other, runs: runs/other}"


def test_what_cannot_be_is_refused_before_anything_is_scored(folder: Path, many: Path, dfdc: Path) -> None:
    data = f"{{name: x, data: {many}}}"
    for rows, column, sentence in (
        ([OTHER], f"{{name: x, data: {many}, kind: unseen dataset}}", "so for no row (other: trained on a part of it)"),
        ([OTHER], f"{{name: x, data: {dfdc}, kind: seen}}", "so for no row (other: not trained on the dataset)"),
        (
            [OTHER, "{name: v, external: 'vendor.py:bright'}"],
            f"{{name: x, data: {dfdc}, kind: seen}}",
            "so for no row (other: not trained on the dataset)",
        ),
        (["{name: gone, runs: runs/gone}"], data, "Row gone: "),
        (
            [OTHER],
            f"{{name: x, data: {many}, method: Face2Face}}",
            "no method 'Face2Face'; known there: Deepfakes, Face",
        ),
        ([OTHER], f"{{name: x, data: {many}, compression: c0}}", "no compression 'c0'; known there: c23, c40"),
        ([OTHER], f"{{name: x, data: {many}, split: unassigned}}", "Column x"),
        (["{name: all, runs: runs/*}"], data, "Row all: .* are not repetitions of one recipe"),
        (["{name: none, runs: runs/none*}"], data, "Row none: No trained run matches"),
        (["{name: v, external: 'absent_module:function'}"], data, "Row v: "),
    ):
        place = folder / "refused"
        with pytest.raises(SemblanceError) as caught:
            benchmark.run(asked(folder, rows, column), place, lambda _: None)
        assert all(part in str(caught.value) for part in sentence.split(" .* ")), str(caught.value)
        assert not place.exists()


def test_a_leak_in_the_last_column_is_refused_before_the_first_is_scored(folder: Path, many: Path) -> None:
    suite = asked(folder, [OTHER], f"{{name: w, data: {many}}}", f"{{name: x, data: {many}, split: train}}")
    with pytest.raises(SemblanceError, match=r"Column x: .*or write `allow_leaks: true` in the suite"):
        benchmark.run(suite, folder / "no", lambda _: None)
    assert not (folder / "no").exists()
    allowed = benchmark.run(suite.model_copy(update={"allow_leaks": True}), folder / "yes", lambda _: None, date=DATE)
    alarms = page.alarms(allowed)
    assert {one.kind for one in alarms if "x is split train" in one.text} == {"Warning"}
    assert len([one for one in page.shortened(alarms) if one.kind == "Leak"]) <= page.MOST + 1
    assert {one.text for one in alarms if one.kind == "Leak"} == {
        f"{leak}." for one in allowed.measured for leak in one.result.leaks.leaks
    }


def test_a_row_that_contradicts_a_kind_is_marked_and_counts_for_nothing(
    folder: Path, many: Path, dfdc: Path, tmp_path: Path
) -> None:
    untrained.make(folder / "cheat" / "cheat", [many, dfdc], seed=7, gain=9)
    rows = [OTHER, "{name: cheat, runs: cheat/cheat}"]
    suite = asked(
        folder,
        rows,
        f"{{name: seen, data: {many}, kind: seen, method: Deepfakes}}",
        f"{{name: new, data: {dfdc}, kind: unseen dataset}}",
    ).model_copy(update={"baseline": "other"})
    made = benchmark.run(suite, tmp_path / "page", lambda _: None, date=DATE, pictures=False)
    cells = {(one.row, one.column): one for one in made.cells}
    assert (cells["cheat", "new"].fault, cells["cheat", "new"].role) == ("trained on it", None)
    assert [one.row for one in made.consistencies] == ["other"]
    assert [one.columns for one in made.gains] == [("seen",), ("seen",)]
    assert not sections.figure(cells["cheat", "new"], "video", cells["cheat", "new"].figures["video"].value).best
    assert "new is called unseen dataset, but cheat was trained on it" in (tmp_path / "page/benchmark.md").read_text()
    line = next(
        csv.DictReader(
            io.StringIO(
                (tmp_path / "page/tables/benchmark-video.csv").read_text().partition("\n")[0]
                + "\n"
                + (tmp_path / "page/tables/benchmark-video.csv").read_text().splitlines()[2]
            )
        )
    )
    assert (line["new"], line["new data"]) == ("", "seen")
    assert "data:image" not in (tmp_path / "page" / made.measured[0].folder / "evaluation.html").read_text()


def test_the_command(folder: Path, tmp_path: Path, dfdc: Path) -> None:
    asked(folder, [OTHER], f"{{name: Celeb-DF (v2), data: {dfdc}}}", f"{{name: CELEB-DF v2, data: {dfdc}, split: val}}")
    done = CliRunner().invoke(app, ["benchmark", str(folder / "other.yaml"), "--date", DATE, "--no-pictures"])
    assert done.exit_code == 0, done.output
    assert "benchmark.html, .md and .json" in done.output
    written = {one.name for one in (folder / "other").iterdir()}
    assert written == {"columns", "tables", "benchmark.html", "benchmark.md", "benchmark.json"}
    assert {one.name for one in (folder / "other" / "columns").iterdir()} == {"Celeb-DF_v2", "CELEB-DF_v2-2"}
    bad = CliRunner().invoke(app, ["benchmark", str(tmp_path / "absent.yaml")])
    assert bad.exit_code == UsageError.exit_code
    assert bad.output.count("Error:") == 1
