"""The page of a scripted service in Chromium, and what must hold whenever it is open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from semblance.training.serving.answers import Problem
from tests.quality.browser import ARGUMENTS, CHROMIUM, Seen
from tests.training.serving.scripted import Script, app, serving

NO_FACE = Problem(error="The video shows no face in 32 sampled frames; send another one.", reason="no_face", id="a1")
SIZES = (1280, 360)
_PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def watched(page: Page) -> Seen:
    """What the page says and asks for, from now on."""
    seen = Seen(page)
    page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    return seen


@contextmanager
def opened(browser: Browser, script: Script, *, fails: int = 0, fragment: str = "") -> Iterator[Seen]:
    """The page of a scripted service; ``fails``: answers other than 2xx, the only complaints that are allowed."""
    with serving(app(script)) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page = context.new_page()
        seen = watched(page)
        page.goto(address + fragment)
        try:
            yield seen
            assert strangers(seen, address) == []
            assert len([one for one in seen.complaints if "Failed to load resource" in one]) == fails
            assert [one for one in seen.complaints if "Failed to load resource" not in one] == []
            assert context.cookies() == []
            assert page.evaluate("() => localStorage.length + sessionStorage.length") == 0
            assert seen.broken_pictures() == 0
        finally:
            script.read.set()
            script.go.set()
            context.close()


def strangers(seen: Seen, address: str) -> list[str]:
    """Requests to others than the service; data and blobs are of the page itself."""
    return [one for one in seen.requests if not one.startswith((address, "data:", "blob:"))]


def choose(page: Page, file: Path) -> None:
    page.set_input_files("#file", file)


def answered(page: Page) -> None:
    expect(page.locator("#answer")).to_be_visible(timeout=60_000)


def sound(seen: Seen, widths: tuple[int, ...] = SIZES) -> None:
    """Without a fault for a person with a screen reader, weak eyes or a small screen, in both schemes."""
    for width in widths:
        seen.page.set_viewport_size({"width": width, "height": 800})
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            seen.page.evaluate(_PAINTED)  # drawings follow the width
            assert seen.faults() == [], (width, scheme)
