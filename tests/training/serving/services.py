"""A service in this process, asked through its ASGI application: real models, children and files, no socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2

from semblance.training.inference import predictor
from semblance.training.serving import access, app, run
from semblance.training.serving.config import load
from semblance.training.serving.models import Lineup, Models
from semblance.training.serving.service import Service


def make(folder: Path, trained: Path, *settings: str, challenger: Path | None = None, **known: Any) -> Service:
    """A service of a run, with settings ``key=value``; not started."""
    config = load(None, ("videos.workers=1", "threads=1", *settings))
    folder.mkdir(parents=True, exist_ok=True)
    lineup = Lineup(champion=run.loaded(predictor.load(trained), config, folder / "model", version="1.0.0"))
    if challenger is not None:
        other = run.loaded(predictor.load(challenger), config, folder / "other", version="1.1.0", role="challenger")
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
