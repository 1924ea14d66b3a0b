"""Hostile requests of all kinds, mixed from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from tests.training.serving import hostile_files, hostile_protocol, hostile_requests
from tests.training.serving.hostile_files import Corpus
from tests.training.serving.hostile_requests import Case, request, whole


def once_broken(of: Corpus) -> list[Case]:
    """What the service has not withstood before: each of these stays in every siege."""
    scans = hostile_files.jpeg_of_scans(3000, 100_000)
    chance = random.Random(0)
    return [
        whole("bombs", "JPEG of 100000 scans", request("/v1/crops", scans, "image/jpeg")),
        whole("routes, methods, headers", "6 MiB", request("/v1/crops", bytes(6 << 20), "image/jpeg")),
        hostile_protocol.endless(3, chance, of),
        hostile_protocol.endless(5, chance, of),
        hostile_protocol.slow(3, chance, of),
        hostile_protocol.slow(4, chance, of),
    ]


KINDS: Final[tuple[tuple[Callable[[int, random.Random, Corpus], Case], int], ...]] = (  # cases of each in a hundred
    (hostile_requests.mutated, 22),
    (hostile_requests.pictures, 10),
    (hostile_requests.bombs, 8),
    (hostile_requests.playlists, 9),
    (hostile_requests.types, 8),
    (hostile_requests.forms, 12),
    (hostile_requests.json_bodies, 11),
    (hostile_protocol.protocol, 7),
    (hostile_protocol.routes, 6),
    (hostile_protocol.endless, 2),
    (hostile_protocol.slow, 1),
    (hostile_protocol.cut, 4),
)


def cases(count: int, seed: int, of: Corpus) -> Iterator[Case]:
    """``count`` cases of all kinds, mixed, made one by one."""
    yield from (known := once_broken(of))[:count]
    count = max(count - len(known), 0)
    chance = random.Random(seed)
    owed = [make for make, share in KINDS for _ in range(max(round(count * share / 100), 1))][:count]
    owed += [hostile_requests.mutated] * (count - len(owed))
    chance.shuffle(owed)
    made = {make: chance.randrange(1000) for make, _ in KINDS}  # a small siege does not always begin with the same
    for make in owed:
        made[make] += 1
        yield make(made[make], chance, of)
