"""Links: every relative one leads to a file and, where it names one, to a heading in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs import pages

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", pages.prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_relative_links_resolve(page: Path) -> None:
    for link in _LINK.findall(pages.prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{pages.name_of(page)} links to {link}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{pages.name_of(page)} links to {link}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    index = (REPOSITORY / "docs" / "index.md").read_text("utf-8")
    linked = set(_LINK.findall(index))
    assert {page.name for page in (REPOSITORY / "docs").glob("*.md")} - {"index.md"} <= linked
