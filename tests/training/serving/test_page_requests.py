"""The page for people in Chromium: what it sends and asks for, token, jobs and feedback included."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from semblance.training.serving.answers import JobAnswer, Limits, Problem
from tests.training.serving.pages import NO_FACE, answered, choose, chromium, opened, sound, strangers, watched
from tests.training.serving.scripted import Script, answer, app, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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
        assert page.url.endswith("#job=job-1"), "loading the page again shows the answer"
        choose(page, clip)
        expect(page.locator("#problem-head")).to_have_text("This takes longer")
        assert "#job" not in page.url
        assert script.removed == [], "its answer is not waited for any more, but is there"


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


def test_a_job_that_is_too_long_is_not_offered_again(browser: Browser) -> None:
    script = Script(jobs=[job("failed", problem=NO_FACE.model_copy(update={"reason": "too_long"}))])
    with opened(browser, script, fragment="#job=job-1") as seen:
        expect(seen.page.locator("#problem-head")).to_have_text("Too long")
        expect(seen.page.locator("#later")).to_be_hidden()
        assert "#job" not in seen.page.url


def test_a_job_is_asked_for_again_after_a_pause(browser: Browser, clip: Path) -> None:
    """Neither a lost connection nor too many questions ends the wait, and no second job is made."""
    limits = Limits(video_mib=64, video_seconds=0.1, job_seconds=3600, crop_mib=4, s3=False)
    script = Script(limits=limits, jobs=[job("queued"), job("running"), job("done", answer=answer(0.8))])
    with opened(browser, script, fails=1) as seen:
        choose(seen.page, clip)
        script.refuse = [(429, Problem(error="Too many requests.", reason="rate", id="r"))]
        seen.page.click("#later")
        answered(seen.page)
        assert [path for path, *_ in script.received] == ["/v1/jobs?faces=true"]


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


def test_it_works_below_a_path_of_a_proxy(browser: Browser, clip: Path) -> None:
    """With a job, whose own address names no such path."""
    script = Script(jobs=[job("queued"), job("done", answer=answer(0.8))], video=lambda: answer(0.3))
    outer = FastAPI()
    outer.mount("/detector", app(script))
    with serving(outer) as address:
        page = browser.new_page()
        seen = watched(page)
        page.goto(f"{address}detector/#job=job-1")
        answered(page)
        choose(page, clip)
        expect(page.locator("#verdict")).to_have_text("The face does not look manipulated")
        assert page.url == f"{address}detector/"
        assert strangers(seen, f"{address}detector/") == []
        assert seen.complaints == []
        page.close()
