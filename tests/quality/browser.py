"""A page in headless Chromium, with everything that it says, asks for or gets wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

FAULTS = Path(__file__).with_name("faults.js").read_text()


@dataclass
class Seen:
    """What went on while the page was open."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """What a person with a screen reader, a keyboard or weak eyes would stumble over: axe-core's, and ours."""
        ours: list[str] = self.page.evaluate(FAULTS)
        violations = Axe().run(self.page).response["violations"]
        theirs = [
            f"{one['impact']} {one['id']}: {one['help']} ({node['target'][0]})"
            for one in violations
            for node in one["nodes"][:3]
        ]
        return ours + theirs

    def broken_pictures(self) -> int:
        """Pictures that did not load, after all had the time to."""
        self.page.evaluate("() => Promise.all([...document.images].map((image) => image.decode().catch(() => null)))")
        count: int = self.page.evaluate("() => [...document.images].filter((image) => !image.naturalWidth).length")
        return count

    def slide(self, name: str, side: str, place: int) -> dict[str, Any]:
        """Move a slider to a bin's edge; returns the edge and the counts that the page tells."""
        script = """([name, side, place]) => {
          const card = document.getElementById("measure-" + name);
          const slider = card.querySelector("input." + side);
          slider.value = place;
          slider.dispatchEvent(new Event("input", { bubbles: true }));
          const kept = card.querySelector(".kept");
          return { real: kept.dataset.real, fake: kept.dataset.fake, text: kept.textContent,
                   shown: card.querySelector("output." + side).textContent };
        }"""
        said: dict[str, Any] = self.page.evaluate(script, [name, side, place])
        return said


@contextmanager
def opened(path: Path, *, width: int = 1200, dark: bool = False) -> Iterator[Seen]:
    """``path`` in Chromium; the test's own look is not counted as a request."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        seen = Seen(page)
        page.on("console", lambda message: seen.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.requests.append(request.url))
        page.goto(path.resolve().as_uri())
        try:
            yield seen
        finally:
            context.close()
            browser.close()
