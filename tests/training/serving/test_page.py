"""The page for people in Chromium, against a service that says what a test tells it to: what it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from semblance.training.serving import page_files
from semblance.training.serving.answers import Problem, VideoAnswer
from tests.training.serving.pages import NO_FACE, answered, choose, chromium, opened, sound
from tests.training.serving.scripted import Script, answer, app, serving

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;'
TOO_LONG = Problem(error="The video lasts 310 s; send it as a job.", reason="too_long", id="a2")
BUSY = Problem(error="All places are taken; send it again later.", reason="busy", id="a3")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_nothing_is_amiss_before_a_file_is_chosen(browser: Browser) -> None:
    with opened(browser, Script()) as seen:
        expect(seen.page.locator("#choose")).to_be_visible()
        expect(seen.page.locator("#model")).to_have_text("Model: detector 1.2.0")
        expect(seen.page.locator("#limits")).to_contain_text("Up to 64 MiB")
        sound(seen)


def test_nothing_is_amiss_while_it_works(browser: Browser, clip: Path) -> None:
    script = Script()
    script.go.clear()
    with opened(browser, script) as seen:
        choose(seen.page, clip)
        expect(seen.page.locator("#live")).to_have_text("Looking for faces")
        expect(seen.page.locator("#cancel")).to_be_focused()
        sound(seen)


SEVERAL = answer(
    0.31, 0.55, 0.12, notes=("Frames 40 to 80 could not be decoded.",), rejected={"small": 12, "face_ratio": 1}
)


ANSWERS = {
    "one": answer(0.87),
    "several": SEVERAL,
    "uncertain": answer(0.6, uncertainty=0.4),
    "bare": answer(0.2, uncertainty=None, faces=False),
    "picture": answer(0.9, 0.3, seconds=None),
}


@pytest.mark.parametrize("found", ANSWERS.values(), ids=ANSWERS)
def test_nothing_is_amiss_in_an_answer(browser: Browser, clip: Path, found: VideoAnswer) -> None:
    with opened(browser, Script(video=lambda: found)) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        for fold in seen.page.locator("summary").all():
            fold.click()
        sound(seen)


def test_nothing_is_amiss_where_there_is_no_answer(browser: Browser, clip: Path) -> None:
    script = Script(video=lambda: (422, NO_FACE))
    with opened(browser, script, fails=3) as seen:
        choose(seen.page, clip)
        expect(seen.page.locator("#problem-text")).to_have_text(NO_FACE.error)
        expect(seen.page.locator("#problem")).to_be_focused()
        expect(seen.page.locator("#again")).to_be_hidden()
        expect(seen.page.locator("#later")).to_be_hidden()
        sound(seen)
        script.video = lambda: (503, BUSY)
        choose(seen.page, clip)
        expect(seen.page.locator("#problem-text")).to_contain_text("in 7 s")
        sound(seen)
        script.video = lambda: (413, TOO_LONG)
        seen.page.click("#again")
        expect(seen.page.locator("#later")).to_be_visible()
        sound(seen)
        script.video = lambda: answer(0.3)
        choose(seen.page, clip)
        answered(seen.page)
        expect(seen.page.locator("#problem")).to_be_hidden()


def test_an_answer_says_all_that_is_in_it(browser: Browser, clip: Path) -> None:
    with opened(browser, Script(video=lambda: SEVERAL)) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        text = seen.page.inner_text("#answer").replace("\xa0", " ")
        for words in (
            *(clip.name, "A face looks manipulated", "55 % probability of manipulation", "range 46 to 64 %"),
            *("The range reaches across 50 %", SEVERAL.meaning, SEVERAL.notes[0], "detector 1.2.0", SEVERAL.id),
            *(
                "12 too small",
                "1 too little of it is in the picture",
                "640 \N{MULTIPLICATION SIGN} 360",
                "10 s, 25 fps",
                "72 of 85",
            ),
            *("faces 1.31 s", "scores 0.42 s", "24 faces scored, from 0.0 s to 9.6 s"),
        ):
            assert words in text
        names = seen.page.locator(".person h3").all_inner_texts()
        assert [name.split("\n")[0].strip()[:8] for name in names] == ["Person A", "Person B", "Person C"]
        figures = seen.page.locator(".person .figure").all_inner_texts()
        assert [int(one.split("\xa0")[0]) for one in figures] == [55, 31, 12], "the highest is first"
        assert seen.page.title().startswith("A face looks manipulated")
        assert seen.page.evaluate("document.activeElement.id") == "answer"


def test_the_drawings_say_the_same_as_the_numbers(browser: Browser, clip: Path) -> None:
    """The bar has its mark at the score and its spread over the range; the curve has a point for each face."""
    found = answer(0.95, uncertainty=0.2)
    with opened(browser, Script(video=lambda: found)) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        track, spread = (seen.page.locator(name).first.bounding_box() for name in (".track", ".spread"))
        assert track is not None
        assert spread is not None
        assert (spread["x"] - track["x"]) / track["width"] == pytest.approx(0.75, abs=0.01)
        assert (spread["x"] + spread["width"] - track["x"]) / track["width"] == pytest.approx(1, abs=0.01)
        points = seen.page.locator(".plot > circle").all()
        assert len(points) == len(found.faces)
        heights = [float(point.get_attribute("cy") or "nan") for point in points]
        scores = [face.probability for face in found.faces]
        assert np.corrcoef(heights, scores)[0, 1] == pytest.approx(-1, abs=1e-6)
        places = [float(point.get_attribute("cx") or "nan") for point in points]
        assert np.corrcoef(places, [face.time_s or 0.0 for face in found.faces])[0, 1] == pytest.approx(1, abs=1e-6)
        seen.page.locator("summary").click()
        assert seen.page.locator("tbody tr").count() == len(found.faces)


def test_pointing_at_the_curve_shows_that_moment(browser: Browser, clip: Path) -> None:
    found = answer(0.6, seconds=1.0, frames=9)
    with opened(browser, Script(video=lambda: found)) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        point = seen.page.locator(".plot > circle").nth(6)
        point.hover(force=True)
        face = found.faces[6]
        words = f"At {face.time_s:.1f}\xa0s: {100 * face.probability:.0f}"
        expect(seen.page.locator(".readout p")).to_contain_text(words)
        moment = seen.page.locator(".controls span")
        expect(moment).to_contain_text(f"{face.time_s:.1f}\xa0s of")
        shown = seen.page.evaluate("() => document.querySelector('video').currentTime")
        assert shown == pytest.approx(face.time_s, abs=0.01)
        expect(seen.page.locator(".box.picked")).to_have_count(1)
        seen.page.locator("button.face").nth(2).click()
        expect(moment).not_to_contain_text(f"{face.time_s:.1f}\xa0s of")


def test_the_curve_follows_the_video(browser: Browser, clip: Path) -> None:
    with opened(browser, Script(video=lambda: answer(0.6, 0.3, seconds=1.0, frames=9))) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        values = "() => [...document.querySelectorAll('.overtime')].map((one) => one.ariaValueNow)"
        assert seen.page.evaluate(values) == ["0", "0"]
        slider = seen.page.get_by_label("Moment", exact=True)
        slider.fill("0.67")
        seen.page.wait_for_function(f"() => ({values})().every((value) => value === '6')")
        expect(seen.page.locator(".box")).to_have_count(2)
        seen.page.get_by_role("button", name="Play").click()
        seen.page.wait_for_function(f"() => ({values})().every((value) => value === '8')")


def test_a_person_who_was_away_is_not_drawn_as_if_there(browser: Browser, clip: Path) -> None:
    whole = answer(0.6)
    faces = tuple(face for face in whole.faces if not 2 < (face.time_s or 0) < 7)
    with opened(browser, Script(video=lambda: whole.model_copy(update={"faces": faces}))) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        assert seen.page.locator(".plot path.line").count() == 2
        assert seen.page.locator(".plot > circle").count() == len(faces)


def test_all_of_it_works_by_keyboard(browser: Browser, clip: Path) -> None:
    script = Script()
    with opened(browser, script) as seen:
        page, keys = seen.page, seen.page.keyboard
        page.on("filechooser", lambda chooser: chooser.set_files(clip))
        expect(page.locator("#choose")).to_be_visible()
        keys.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        keys.press("Enter")
        keys.press("Tab")
        expect(page.locator("#file")).to_be_focused()
        outline = page.evaluate("() => getComputedStyle(document.querySelector('.drop')).outlineWidth")
        assert outline != "0px"
        keys.press("Enter")
        answered(page)
        visited = []
        for _ in range(60):
            keys.press("Tab")
            visited.append(page.evaluate("document.activeElement.getAttribute('role') ?? document.activeElement.name"))
            if visited[-1] == "slider":
                before = page.get_attribute(".overtime", "aria-valuetext")
                keys.press("Home")
                assert page.get_attribute(".overtime", "aria-valuenow") == "0"
                keys.press("ArrowRight")
                assert page.get_attribute(".overtime", "aria-valuenow") == "1"
                assert page.get_attribute(".overtime", "aria-valuetext") != before
                keys.press("End")
                assert page.get_attribute(".overtime", "aria-valuenow") == "23"
            if visited[-1] == "truth":
                keys.press("ArrowDown")  # from the first, which it chooses, to the second
            if visited[-1] == "helped":
                keys.press("Space")
                break
        assert "slider" in visited
        keys.press("Tab")
        keys.press("Enter")
        expect(page.locator(".told")).to_contain_text("Thank you")
        assert [(one.id, one.label, one.satisfied) for one in script.said] == [("7f3a9c", 1, True)]


def test_nothing_that_a_file_or_the_service_says_is_markup(browser: Browser, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / (HOSTILE.replace("/", "") + ".mp4")
    file.write_bytes(clip.read_bytes())
    found = answer(0.7, notes=(HOSTILE,), rejected={HOSTILE: 3})
    model = found.model.model_copy(update={"name": HOSTILE})
    found = found.model_copy(update={"id": HOSTILE, "meaning": HOSTILE, "model": model, "seconds": {HOSTILE: 1.0}})
    script = Script(video=lambda: found)
    with opened(browser, script, fails=1) as seen:
        choose(seen.page, file)
        answered(seen.page)
        text = seen.page.inner_text("#answer")
        assert text.count(HOSTILE) >= 5
        assert file.name in text
        script.video = lambda: (422, Problem(error=HOSTILE, reason="decode_error", id=HOSTILE))
        choose(seen.page, file)
        expect(seen.page.locator("#problem-text")).to_have_text(HOSTILE)
        assert seen.page.title() == "Semblance"
        assert seen.page.locator('[src="x"], main script').count() == 0


def test_the_policy_forbids_markup_from_text(browser: Browser) -> None:
    with opened(browser, Script()) as seen:
        expect(seen.page.locator("#choose")).to_be_visible()
        said = seen.page.evaluate("""() => {
          try { document.body.innerHTML = "<b>x</b>"; } catch (error) { return error.name; }
          return "taken";
        }""")
        assert said == "TypeError"
        seen.complaints.clear()


def test_numbers_are_never_surer_than_they_are(browser: Browser) -> None:
    with opened(browser, Script()) as seen:
        shares = [0.0, 0.0001, 0.0099, 0.01, 0.5, 0.985, 0.99, 0.9901, 0.999999, 1.0]
        said = seen.page.evaluate(
            "(shares) => import('./page/words.js').then((words) => shares.map(words.percent))", shares
        )
        plain = [one.replace("\xa0", " ") for one in said]
        assert plain[:4] == ["0 %", "under 1 %", "under 1 %", "1 %"]
        assert plain[4:] == ["50 %", "99 %", "99 %", "over 99 %", "over 99 %", "100 %"]
        spoken = seen.page.evaluate(
            "() => import('./page/words.js').then((words) => [0, 9.96, 59.94, 59.96, 65.2, 600].map(words.time))"
        )
        times = [one.replace("\xa0", " ") for one in spoken]
        assert times == ["0.0 s", "10.0 s", "59.9 s", "1:00.0", "1:05.2", "10:00.0"]
        names = seen.page.evaluate(
            "() => import('./page/words.js').then((words) => Array.from({ length: 800 }, (_, i) => words.letters(i)))"
        )
        assert names[:2] + names[25:28] == ["A", "B", "Z", "AA", "AB"]
        assert len(set(names)) == len(names)


def test_the_files_are_sent_with_a_strict_policy() -> None:
    with serving(app(Script(token="closed"))) as address, httpx2.Client(base_url=address) as client:
        for name, content in page_files.files().items():
            path = "" if name == "index.html" else f"page/{name}"
            found = client.get(path)
            assert (found.status_code, found.content) == (200, content)
            assert found.headers["content-security-policy"] == page_files.POLICY
            assert found.headers["x-content-type-options"] == "nosniff"
            assert found.headers["referrer-policy"] == "no-referrer"
            assert "set-cookie" not in found.headers
            assert client.head(path).headers["content-length"] == str(len(content))
            again = client.get(path, headers={"If-None-Match": found.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        for path in ("page/", "page/none.js", "page/../page_files.py", "page/%2e%2e/page_files.py", "page/index.html"):
            assert client.get(path).status_code == 404
    assert not re.search(r"unsafe|https?:|\*", page_files.POLICY)


def test_the_files_hold_nothing_of_others_and_no_markup_in_scripts() -> None:
    files = {name: content.decode() for name, content in page_files.files().items()}
    assert not re.search(r"\sstyle=|\son\w+=|<script(?! type=\"module\" src)|<style", files["index.html"])
    for name, text in files.items():
        addresses = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), name
        assert len(text.splitlines()) <= 300, name
        assert name.endswith(".svg") or max(map(len, text.splitlines())) <= 120, name
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|eval\(|Storage|\.cookie", text), name
