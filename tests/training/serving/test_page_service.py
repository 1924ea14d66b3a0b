"""The page on the real service: a file goes in, faces are found and scored, the answer is shown and judged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx2
import polars as pl
import pytest
from playwright.sync_api import Page, expect

from semblance.training.rollout import events
from semblance.training.serving import access, app
from tests.quality.browser import Seen
from tests.training.serving import services
from tests.training.serving.pages import chromium, sound, watched
from tests.training.serving.scripted import serving

SETTINGS = ("videos.seconds=6", "passes=8")


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service of an untrained run that wants a token and keeps feedback in ``folder``."""

    address: str
    token: str
    log: events.Log
    folder: Path


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, trained: Path) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    token = access.create("somebody", str(folder / "tokens"))
    log = events.Log(str(folder / "events"))
    service = services.make(folder, trained, *SETTINGS, tokens=access.read(str(folder / "tokens")), log=log)
    with serving(app.build(service)) as address:
        with httpx2.Client(base_url=address) as client:
            while client.get("health/ready").status_code != 200:
                time.sleep(0.05)
        yield Running(address=address, token=token, log=log, folder=folder)


@pytest.fixture(scope="module")
def seen(running: Running) -> Iterator[Seen]:
    """The page, opened once, with the token typed in."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        seen = watched(page)
        page.goto(running.address)
        page.get_by_role("textbox", name="Token").fill(running.token)
        page.keyboard.press("Enter")
        expect(page.locator("#choose")).to_be_visible()
        assert len(seen.complaints) == 1  # the 401
        yield seen
        assert [one for one in seen.complaints if "status of 4" not in one] == []
        assert [
            one for one in seen.requests if not one.startswith((running.address, "data:", f"blob:{running.address}"))
        ] == []


def score(page: Page, file: Path) -> str:
    """The text of the answer, or of the problem."""
    page.set_input_files("#file", file)
    expect(page.locator("#busy")).to_be_hidden(timeout=300_000)
    shown = page.locator("#answer, #problem").filter(visible=True)
    expect(shown).to_have_count(1)
    return shown.inner_text().replace("\xa0", " ")


def test_a_clip_of_two_people_is_scored_and_judged(seen: Seen, running: Running, clip: Path) -> None:
    text = score(seen.page, clip)
    for words in ("looks manipulated", "Person A", "Person B", "detector 1.0.0", "not calibrated", "It is no proof"):
        assert words in text
    assert "uncertainty unknown" not in text
    assert seen.page.locator(".overtime").count() == 2
    assert seen.page.locator("button.face").count() > 2
    assert seen.broken_pictures() == 0
    sound(seen)
    seen.page.get_by_label("Manipulated", exact=True).check()
    seen.page.get_by_label("Yes", exact=True).check()
    seen.page.get_by_role("button", name="Send").click()
    expect(seen.page.locator(".told")).to_contain_text("Thank you")
    running.log.flush()
    kept = pl.read_parquet(list((running.folder / "events" / "feedback").iterdir()))
    assert kept.select("id", "label", "satisfied").rows() == [(seen.page.locator("code").inner_text(), 1, True)]


def test_boxes_lie_on_the_faces(seen: Seen, running: Running, clip: Path) -> None:
    """The boxes on the page are where the detector saw faces: the same shares of width and height as in the answer."""
    token = {"Authorization": f"Bearer {running.token}"}
    with httpx2.Client(base_url=running.address, headers=token, timeout=None) as client:
        found = client.post("v1/videos", content=clip.read_bytes()).json()
    score(seen.page, clip)
    seen.page.locator("button.face").first.click()
    box, stage = seen.page.locator(".box.picked").bounding_box(), seen.page.locator(".stage").bounding_box()
    assert box is not None
    assert stage is not None
    width, height = found["footage"]["width"], found["footage"]["height"]
    across, down = width / stage["width"], height / stage["height"]
    x0, y0 = (box["x"] - stage["x"]) * across, (box["y"] - stage["y"]) * down
    shown = (x0, y0, x0 + box["width"] * across, y0 + box["height"] * down)
    away = [max(abs(a - b) for a, b in zip(face["box"], shown, strict=True)) for face in found["faces"]]
    assert min(away) < 2 * across  # two px of the page


def test_a_picture_and_files_without_a_score(seen: Seen, demo: Path, clip: Path, tmp_path: Path) -> None:
    empty = min(demo.rglob("*.mp4"), key=lambda file: file.stat().st_size)
    assert "shows no face" in score(seen.page, empty)
    sound(seen)
    (tmp_path / "notes.mp4").write_text("no video\n" * 99)
    assert "is no video or picture that is known here" in score(seen.page, tmp_path / "notes.mp4")
    video = cv2.VideoCapture(str(clip))
    assert cv2.imwrite(str(tmp_path / "scene.jpg"), video.read()[1])
    text = score(seen.page, tmp_path / "scene.jpg")
    assert "Frames looked at" not in text
    assert seen.page.locator(".overtime").count() == 0
    assert seen.page.locator(".stage .box").count() >= 1
    sound(seen)


def test_a_longer_video_is_scored_as_a_job(seen: Seen, clip: Path, tmp_path: Path) -> None:
    """More than the six seconds that are answered at once: ten times the first clip."""
    source = cv2.VideoCapture(str(clip))
    frames = [frame for ok, frame in iter(source.read, (False, None)) if ok]
    height, width = frames[0].shape[:2]
    file = tmp_path / "long.avi"  # the browser cannot play it: the service says that it is too long
    out = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (width, height))
    for frame in (frames * 20)[:200]:
        out.write(frame)
    out.release()
    text = score(seen.page, file)
    assert "is longer than 6 s; as a job (POST /v1/jobs) it may last 3600 s" in text
    seen.page.get_by_role("button", name="Score it as a job").click()
    expect(seen.page.locator("#answer")).to_be_visible(timeout=300_000)
    assert "8 s, 25 fps" in seen.page.inner_text("#answer").replace("\xa0", " ")
    assert seen.page.locator(".overtime").count() >= 1
    sound(seen)


def test_a_real_clip(seen: Seen, shared: Path) -> None:
    text = score(seen.page, shared / "data" / "celebdf" / "Celeb-real" / "id0_0000.mp4")
    assert "Faces scored" in text
    seen.page.locator("button.face").last.click()
    expect(seen.page.locator(".box.picked")).to_have_count(1)
    sound(seen)
