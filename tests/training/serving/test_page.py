"""The page for people in Chromium, against a service that says what a test tells it to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from semblance.training.serving import page_files
from semblance.training.serving.answers import JobAnswer, Limits, Problem, VideoAnswer
from tests.quality.browser import ARGUMENTS, CHROMIUM, Seen
from tests.training.serving.scripted import Script, answer, app, serving

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>&amp;'
NO_FACE = Problem(error="The video shows no face in 32 sampled frames; send another one.", reason="no_face", id="a1")
TOO_LONG = Problem(error="The video lasts 310 s; send it as a job.", reason="too_long", id="a2")
BUSY = Problem(error="All places are taken; send it again later.", reason="busy", id="a3")
SIZES = (1280, 360)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def clip(demo: Path) -> Path:
    """A clip of the demo that shows a face: its largest."""
    return max(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)


@contextmanager
def opened(browser: Browser, script: Script, *, fails: int = 0, fragment: str = "") -> Iterator[Seen]:
    """The page of a scripted service; ``fails``: answers other than 2xx, the only complaints that are allowed."""
    with serving(app(script)) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        seen = Seen(page)
        page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(address + fragment)
        try:
            yield seen
            assert [one for one in seen.requests if not one.startswith((address, "data:", f"blob:{address}"))] == []
            assert len([one for one in seen.complaints if "Failed to load resource" in one]) == fails
            assert [one for one in seen.complaints if "Failed to load resource" not in one] == []
            assert context.cookies() == []
            assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
            assert seen.broken_pictures() == 0
        finally:
            script.read.set()
            script.go.set()
            context.close()


def choose(page: Page, file: Path) -> None:
    page.set_input_files("#file", file)


def answered(page: Page) -> None:
    expect(page.locator("#answer")).to_be_visible(timeout=60_000)


def sound(seen: Seen) -> None:
    """Without a fault for a person with a screen reader, weak eyes or a small screen, in both schemes."""
    for width in SIZES:
        seen.page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            seen.page.wait_for_timeout(50)  # drawings follow the width
            assert seen.faults() == [], (width, scheme)


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
            *("The range reaches over 50 %", SEVERAL.meaning, SEVERAL.notes[0], "detector 1.2.0", SEVERAL.id),
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
        expect(page.locator("#choose")).to_be_visible()
        keys.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        keys.press("Enter")
        keys.press("Tab")
        expect(page.locator("#file")).to_be_focused()
        outline = page.evaluate("() => getComputedStyle(document.querySelector('.drop')).outlineWidth")
        assert outline != "0px"
        with page.expect_file_chooser() as chooser:
            keys.press("Enter")
        chooser.value.set_files(clip)
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


def test_what_is_said_of_an_answer_is_sent(browser: Browser, clip: Path) -> None:
    script = Script()
    with opened(browser, script, fails=1) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        send, told = seen.page.locator(".feedback button"), seen.page.locator(".told")
        send.click()
        expect(told).to_contain_text("Choose an answer")
        seen.page.get_by_label("I do not know").check()
        send.click()
        expect(told).to_contain_text("Choose an answer")
        seen.page.get_by_label("No", exact=True).check()
        send.click()
        expect(told).to_contain_text("Thank you")
        seen.page.get_by_label("Unaltered").check()
        send.click()
        expect(send).to_be_enabled()
        script.feedback = lambda: (404, Problem(error="The answer is not known any more.", reason="not_found", id="x"))
        send.click()
        expect(told).to_have_text("The answer is not known any more.")
        said = [(one.label, one.satisfied) for one in script.said]
        assert said == [(None, False), (0, False), (0, False)]


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


def test_the_token_is_asked_for_and_kept_nowhere(browser: Browser, clip: Path) -> None:
    script = Script(token="s3cret-token")
    with opened(browser, script, fails=3) as seen:
        page = seen.page
        expect(page.locator("#token-field")).to_be_focused()
        expect(page.locator("#token-wrong")).to_be_empty()
        sound(seen)
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#token-wrong")).to_contain_text("This token is not known here")
        sound(seen)
        page.fill("#token-field", "s3cret-token")
        page.keyboard.press("Enter")
        expect(page.locator("#choose")).to_be_visible()
        choose(page, clip)
        answered(page)
        script.token = "another-token"  # as if it had been taken back
        choose(page, clip)
        expect(page.locator("#token-field")).to_be_focused()
        page.fill("#token-field", "another-token")
        page.keyboard.press("Enter")
        answered(page)
        assert "token" not in page.url
        assert page.input_value("#token-field") == ""
        assert [url for url in seen.requests if "token" in url] == []


def test_the_share_that_is_sent_is_told(browser: Browser, tmp_path: Path) -> None:
    """A server that stops to read stops the bar; the share never falls."""
    file = tmp_path / "long.mp4"
    with file.open("wb") as opened_file:
        opened_file.truncate(48 * 2**20)
    script = Script()
    script.read.clear()
    with opened(browser, script) as seen:
        seen.page.evaluate("""() => {
          window.told = [];
          const bar = document.getElementById("bar");
          const watch = new MutationObserver(() => bar.hasAttribute("value") && told.push(bar.value));
          watch.observe(bar, { attributes: true });
        }""")
        choose(seen.page, file)
        expect(seen.page.locator("#amount")).to_contain_text("% of 48.0\xa0MiB")
        expect(seen.page.locator("#phase")).to_have_text("Sending the file")
        script.read.set()
        answered(seen.page)
        told = seen.page.evaluate("() => told")
        assert told == sorted(told)
        assert len(set(told)) > 2
        assert script.received == [("/v1/videos?faces=true", "video/mp4", 48 * 2**20)]


def test_a_file_that_nobody_would_take_is_not_sent(browser: Browser, clip: Path, tmp_path: Path) -> None:
    big, empty = tmp_path / "big.mp4", tmp_path / "empty.mp4"
    empty.touch()
    with big.open("wb") as opened_file:
        opened_file.truncate(65 * 2**20)
    script = Script(limits=Limits(video_mib=64, video_seconds=0.1, job_seconds=0.2, crop_mib=4, s3=False))
    with opened(browser, script) as seen:
        for file, words in ((big, "at most 64 MiB"), (empty, "empty.mp4 is empty"), (clip, "takes at most 0.2")):
            choose(seen.page, file)
            expect(seen.page.locator("#problem-text")).to_contain_text(words)
            expect(seen.page.locator("#later")).to_be_hidden()
        assert script.received == []


def job(status: Any, **more: Any) -> JobAnswer:
    return JobAnswer(id="job-1", address="/v1/jobs/job-1", status=status, **more)


def test_a_long_video_is_offered_as_a_job(browser: Browser, clip: Path) -> None:
    """By its length where the browser knows it, without being sent first."""
    limits = Limits(video_mib=64, video_seconds=0.1, job_seconds=3600, crop_mib=4, s3=False)
    script = Script(limits=limits)
    script.jobs = [job("queued", ahead=2), job("queued", ahead=1), job("running"), job("done", answer=answer(0.8))]
    with opened(browser, script) as seen:
        page = seen.page
        choose(page, clip)
        expect(page.locator("#problem-head")).to_have_text("This takes longer")
        assert script.received == []
        page.click("#later")
        expect(page.locator("#busy-file")).to_contain_text("2 before it in the queue")
        sound(seen)
        answered(page)
        assert [path for path, *_ in script.received] == ["/v1/jobs?faces=true"]
        assert "#job" not in page.url


def test_a_job_is_found_again_when_the_page_is_loaded_again(browser: Browser) -> None:
    script = Script(jobs=[job("running"), job("done", answer=answer(0.8))])
    with opened(browser, script, fragment="#job=job-1") as seen:
        answered(seen.page)
        expect(seen.page.locator("#verdict")).to_have_text("The face looks manipulated")
        assert seen.page.locator(".viewer").count() == 0


def test_a_job_that_failed_says_why(browser: Browser) -> None:
    script = Script(jobs=[job("failed", problem=NO_FACE)])
    with opened(browser, script, fragment="#job=job-1") as seen:
        expect(seen.page.locator("#problem-text")).to_have_text(NO_FACE.error)


def test_a_job_that_nobody_waits_for_is_removed(browser: Browser) -> None:
    script = Script(jobs=[job("running")])
    with opened(browser, script, fragment="#job=job-1") as seen:
        expect(seen.page.locator("#phase")).to_have_text("Looking for faces")
        with seen.page.expect_response(lambda response: response.request.method == "DELETE"):
            seen.page.click("#cancel")
        assert script.removed == ["job-1"]
        assert "#job" not in seen.page.url


def test_feedback_that_is_not_kept_is_not_asked_for(browser: Browser, clip: Path) -> None:
    with opened(browser, Script(keeps_feedback=False)) as seen:
        choose(seen.page, clip)
        answered(seen.page)
        assert seen.page.locator(".feedback").count() == 0


def test_a_service_that_is_gone_is_said_and_found_again(browser: Browser, clip: Path) -> None:
    with opened(browser, Script(), fails=1) as seen:
        expect(seen.page.locator("#choose")).to_be_visible()
        seen.page.context.set_offline(True)
        choose(seen.page, clip)
        expect(seen.page.locator("#problem-text")).to_contain_text("cannot be reached")
        seen.page.context.set_offline(False)
        seen.page.click("#again")
        answered(seen.page)


def test_a_new_file_or_a_cancel_ends_what_was_going_on(browser: Browser, clip: Path) -> None:
    script = Script()
    script.go.clear()
    with opened(browser, script) as seen:
        choose(seen.page, clip)
        expect(seen.page.locator("#phase")).to_have_text("Looking for faces")
        seen.page.click("#cancel")
        expect(seen.page.locator("#choose")).to_be_visible()
        expect(seen.page.locator("#file")).to_be_focused()
        script.go.set()
        choose(seen.page, clip)
        answered(seen.page)
        assert len(script.received) == 2
        assert seen.page.locator("#verdict").count() == 1


def test_a_file_may_be_dropped_anywhere(browser: Browser) -> None:
    script = Script()
    with opened(browser, script) as seen:
        expect(seen.page.locator("#choose")).to_be_visible()
        picture = cv2.imencode(".png", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()
        script.video = lambda: answer(0.2, seconds=None, size=(64, 48))
        data = seen.page.evaluate_handle(
            """(bytes) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(bytes)], "room.png", { type: "image/png" }));
              return data;
            }""",
            list(picture),
        )
        seen.page.dispatch_event("footer", "dragover", {"dataTransfer": data})
        assert seen.page.evaluate("document.body.className") == "dropping"
        seen.page.dispatch_event("footer", "drop", {"dataTransfer": data})
        answered(seen.page)
        assert seen.page.evaluate("document.body.className") == ""
        assert script.received == [("/v1/videos?faces=true", "image/png", len(picture))]
        assert seen.page.locator(".stage .box").count() == 1


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
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|eval\(|Storage|\.cookie", text), name
