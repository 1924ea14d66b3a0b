"""Events as a service would write them, with outcomes that a test chooses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from semblance.training.rollout import events
from semblance.training.rollout.assign import challenged
from semblance.training.rollout.events import Feedback, Request

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(days: float) -> datetime:
    """So many days after the start."""
    return START + timedelta(days=days)


def request(number: int = 0, **fields: Any) -> Request:
    """A request of subject ``number``, with a correct verdict on a fake unless told otherwise."""
    values: dict[str, Any] = {
        "id": f"r{number}",
        "time": at(0),
        "rollout": "one",
        "share": 0.5,
        "subject_hash": events.hashed("one", f"s{number}"),
        "role": "champion",
        "model": "detector",
        "version": "1.0.0",
        "kind": "crop",
        "status": 200,
        "latency_s": 0.1,
        "probability": 0.9,
        "verdict": "fake",
    }
    return Request(**(values | fields))


def traffic(
    *,
    days: Iterable[float],
    share: float = 0.5,
    champion: float = 0.9,
    challenger: float = 0.9,
    slower: float = 1.0,
    failing: float = 0.0,
    rollout: str = "one",
    first: int = 0,
    seed: int = 0,
    labelled: float = 1.0,
) -> tuple[list[Request], list[Feedback]]:
    """A request of a new subject at each of ``days``: the accuracies of both versions, the challenger ``slower`` times
    slower and ``failing`` so often; labels an hour later."""
    random = np.random.default_rng(seed)
    requests, said = [], []
    for number, day in enumerate(days, first):
        new = challenged(rollout, f"s{number}", share)
        right = random.random() < (challenger if new else champion)
        failed = new and random.random() < failing
        requests.append(
            request(
                number,
                time=at(day),
                rollout=rollout,
                share=share,
                subject_hash=events.hashed(rollout, f"s{number}"),
                role="challenger" if new else "champion",
                version="1.1.0" if new else "1.0.0",
                verdict=None if failed else "fake" if right else "real",
                probability=None if failed else 0.9 if right else 0.1,
                status=500 if failed else 200,
                latency_s=float(random.uniform(0.05, 0.15)) * (slower if new else 1.0),
            )
        )
        if random.random() < labelled:
            said.append(Feedback(id=f"r{number}", time=at(day + 1 / 24), label=1, satisfied=bool(right)))
    return requests, said


def write(folder: str, requests: Iterable[Request], said: Iterable[Feedback] = ()) -> None:
    """All of it, in one part of each table."""
    log = events.Log(folder, rows=10**6, seconds=600)
    for one in requests:
        log.request(one)
    for word in said:
        log.feedback(word)
    log.flush()
    log.close()
    assert not log.dropped
