"""One reader per dataset layout, one interface for all."""

from __future__ import annotations

from typing import Final

from semblance.ingest.sources.base import Source
from semblance.ingest.sources.celebdf import CelebDf
from semblance.ingest.sources.dfdc import Dfdc
from semblance.ingest.sources.dfdc_preview import DfdcPreview
from semblance.ingest.sources.ffpp import Ffpp
from semblance.ingest.sources.folder import Folder
from semblance.ingest.sources.wilddeepfake import WildDeepfake
from semblance.manifests.errors import UsageError

SOURCES: Final[dict[str, Source]] = {
    source.name: source
    for source in (
        CelebDf(),
        Dfdc(),
        DfdcPreview(),
        Ffpp(),
        Folder(),
        WildDeepfake(),
    )
}


def source(name: str) -> Source:
    """The reader of a dataset's layout; raises UsageError for an unknown name."""
    if name not in SOURCES:
        raise UsageError(f"There is no dataset {name!r}; --dataset takes {', '.join(sorted(SOURCES))}.")
    return SOURCES[name]
