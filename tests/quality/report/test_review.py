"""The reviewer's page: every question, finding and leak of the record is on it, and it holds in a browser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import polars as pl
import pytest

from semblance.manifests.records import TRAIN_VAL_TEST
from semblance.quality.audit.record import BuildRecord, Judgement, Record
from semblance.quality.audit.run import audit
from semblance.quality.audit.transcribe import transcribe
from semblance.quality.report.review import page
from semblance.quality.report.review.answer import SHOWN
from tests.conftest import Run
from tests.quality import planted
from tests.quality.browser import opened
from tests.quality.planted import MARKUP, Faults
from tests.quality.report.test_report import sound

_ORDER = ("protocol", "leaks", "people", "copies", "shortcuts", "labels", "filters", "losses", "files")
_WORST = ("broken", "warning", "note")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty families with copies in two splits, known people in several, wrong labels, filters and failures."""
    folder = tmp_path_factory.mktemp("faulty")
    plan = planted.build(folder / "first", 30)
    of = {split: rows["family_id"].unique().sort().to_list() for (split,), rows in plan.group_by("split")}
    faults = Faults(
        shortcut=True,
        copies={of["test"][0]: of["train"][0]},
        unforged=frozenset({"folder-fake_7_1"}),
        unequal=True,
        failed=frozenset({"folder-fake_9_1"}),
    )
    planted.build(folder / "out", 30, faults, methods=("Swap", f"Puppet {MARKUP}"))
    plan = pl.read_parquet(folder / "out/plan.parquet")
    named = pl.when(pl.col("family_id").str.ends_with("_3").not_()).then(pl.lit(f"ann {MARKUP}"))
    plan.with_columns(target_id=named).write_parquet(folder / "out/plan.parquet")
    return folder / "out"


@pytest.fixture(scope="module")
def record(faulty: Path) -> Record:
    return transcribe(audit([str(faulty)]))


def words(text: str) -> str:
    """Text as it is shown: without tags, entities and repeated space."""
    return " ".join(html.unescape(re.sub(r"<(style|script)[\s\S]*?</\1>|<[^>]+>", " ", text)).split())


def plain(text: str) -> str:
    """A sentence as the page shows it: no backticks, control characters as escapes."""
    return " ".join(text.replace("`", " ").replace("\x1b", "\\x1b").split())


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, False), (1200, True)])
def test_the_page_holds_in_a_browser(record: Record, tmp_path: Path, width: int, dark: bool) -> None:
    file = tmp_path / "review.html"
    file.write_text(page.render(record))
    with opened(file, width=width, dark=dark) as seen:
        sound(seen, file)
        assert seen.page.evaluate("() => document.images.length") == 0
        assert seen.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        assert MARKUP not in seen.page.title()
        seen.page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
        sound(seen, file)
        seen.page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = false })")
        seen.page.emulate_media(media="print")
        hidden = "() => [...document.querySelectorAll('details li')].filter((one) => !one.checkVisibility()).length"
        assert seen.page.evaluate(hidden) == 0, "paper has nothing to click"


def test_the_page_answers_in_order_and_leaves_nothing_out(record: Record) -> None:
    text = page.render(record)
    assert tuple(re.findall(r'<h2 id="(\w+)">', text)) == (*_ORDER, "again")
    shown = squeezed(words(text))
    (build,) = record.builds
    for one in build.findings:
        assert squeezed(plain(one.what)) in shown, one.what
        assert all(squeezed(plain(name)) in shown for name in one.ids[:SHOWN])
    active = [leak for leak in record.leaks if leak.column == "split"]
    assert {leak.kind for leak in active} >= {"near_duplicate", "person"}
    assert all(squeezed(plain(leak.id)) in shown for leak in active)
    assert all(squeezed(plain(one.video_id)) in shown for one in build.losses.lost or ())
    assert build.dataset.fingerprint in text
    assert squeezed(plain(record.verdict.partition(": ")[2])) in shown
    assert "not promised: people and recordings" in words(text)


def test_the_page_is_made_from_the_record_alone(record: Record) -> None:
    assert page.render(Record.model_validate_json(record.model_dump_json(by_alias=True))) == page.render(record)


def test_no_answer_is_milder_than_its_findings(record: Record) -> None:
    levels = re.findall(r'<p class="answer (\w+)">', page.render(record))
    assert len(levels) == len(_ORDER)
    assert min(levels, key=(*_WORST, "unknown").index) == record.level == "broken"
    by_key = dict(zip(_ORDER, levels, strict=True))
    assert (by_key["copies"], by_key["shortcuts"], by_key["filters"]) == ("broken", "warning", "warning")
    assert by_key["people"] == "warning", "one person is in every split, and the protocol does not promise people"


def test_a_law_that_no_question_knows_is_shown_all_the_same(record: Record) -> None:
    strange = Judgement(level="warning", law="weather", what="it rained in train", remedy="", ids=["cloud-1"])
    (build,) = record.builds
    more = build.model_copy(update={"findings": [*build.findings, strange]})
    text = words(page.render(record.model_copy(update={"builds": [more]})))
    assert "it rained in train" in text
    assert "cloud-1" in text


def test_long_lists_are_cut_and_say_so(record: Record) -> None:
    (build,) = record.builds
    many = [f"family-{number}" for number in range(SHOWN + 7)]
    found = Judgement(level="broken", law="weather", what="many families", remedy="", ids=many)
    text = page.render(record.model_copy(update={"builds": [build.model_copy(update={"findings": [found]})]}))
    assert "And 7 more, in audit.json." in words(text)
    assert f"family-{SHOWN - 1}<" in text
    assert f"family-{SHOWN}<" not in text


def test_what_nobody_knows_is_not_called_sound(record: Record) -> None:
    """Without ids, families enough or comparisons there is nothing to be sound about."""
    (build,) = record.builds
    none = {
        name: [one.model_copy(update={"known": 0, "shared": 0}) for one in rows] for name, rows in build.figures.items()
    }
    people = build.people.model_copy(update={"known": 0})
    noise = None if build.label_noise is None else build.label_noise.model_copy(update={"compared_fakes": 0})
    bare: BuildRecord = build.model_copy(
        update={"figures": none, "people": people, "label_noise": noise, "findings": [], "filters": [], "shortcuts": []}
    )
    text = page.render(record.model_copy(update={"builds": [bare], "leaks": []}))
    levels = dict(zip(_ORDER, re.findall(r'<p class="answer (\w+)">', text), strict=True))
    unknown = {key for key, level in levels.items() if level == "unknown"}
    assert unknown == {"leaks", "people", "shortcuts", "labels", "filters"}
    assert "5 of 9 questions could not be answered: 2, 3, 5, 6, 7." in words(text)


def test_plans_and_several_builds(faulty: Path, built: Path, run: Run, tmp_path: Path) -> None:
    done = run("quality", "audit", faulty, built, "--page", tmp_path / "two.html", expect=1)
    assert done.stdout.startswith("BROKEN")
    two = tmp_path / "two.html"
    with opened(two) as seen:
        sound(seen, two)
    text = words(two.read_text())
    assert f"Between {faulty} and {built}" in text
    for one in (faulty, built):
        assert text.count(f"{one} ") >= 2 * len(_ORDER)
    plan = tmp_path / "plan.html"
    run("quality", "audit", "--plan", built, "--page", plan)
    with opened(plan) as seen:
        sound(seen, plan)
    text = words(plan.read_text())
    assert "SOUND, as far as a plan shows" in text
    assert "6 of 9 questions could not be answered: 3, 4, 5, 6, 7, 9." in text
    assert all(split in text for split in TRAIN_VAL_TEST)
    assert "must end in .html" in run("quality", "audit", built, "--page", tmp_path / "x.pdf", expect=2).stderr


def test_the_command_on_the_page_repeats_the_audit(faulty: Path) -> None:
    asked = transcribe(audit([str(faulty)], allow=["ann"], most=7))
    assert page.command(asked) == (
        f"quality audit {faulty} --confirm=7 --allow ann --page review.html --json audit.json"
    )
