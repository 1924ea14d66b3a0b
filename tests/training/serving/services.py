"""A service in this process, asked through its ASGI application: real models, children and files, no socket."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

import httpx2

from semblance.training.inference import predictor
from semblance.training.serving import access, app, source
from semblance.training.serving.config import load
from semblance.training.serving.models import Lineup, Loaded, Models
from semblance.training.serving.service import Service


@cache
def loaded(trained: Path, version: str, role: Literal["champion", "challenger"]) -> Loaded:
    """A run, compiled once for all services of a process."""
    with tempfile.TemporaryDirectory() as folder:
        one = predictor.load(trained)
        return source.loaded(one, load(None, ("videos.workers=1",)), Path(folder), version=version, role=role)


def make(folder: Path, trained: Path, *settings: str, challenger: Path | None = None, **known: Any) -> Service:
    """A service of a run, with settings ``key=value``; not started."""
    config = load(None, ("videos.workers=1", "threads=1", *settings))
    folder.mkdir(parents=True, exist_ok=True)
    lineup = Lineup(champion=loaded(trained, "1.0.0", "champion"))
    if challenger is not None:
        other = loaded(challenger, "1.1.0", "challenger")
        lineup = Lineup(champion=lineup.champion, challenger=other, share=0.5, rollout="trial")
    tokens = known.pop("tokens", access.Tokens({}))
    return Service(models=Models(lineup=lineup), config=config, folder=folder, tokens=tokens, **known)


@contextlib.asynccontextmanager
async def asked(service: Service) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the service, started for the block and ready."""
    await service.start()
    try:
        while not service.ready:
            assert not service._warming.done() or service.ready, service._warming.result()
            await asyncio.sleep(0.02)
        transport = httpx2.ASGITransport(app=app.build(service), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service", timeout=None) as client:
            yield client
    finally:
        await service.stop()
