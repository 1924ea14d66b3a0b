"""Verdicts that depend on the other faces of a frame, and on whether a detection is a face at all."""

from __future__ import annotations

import numpy as np

from semblance.ingest.process.verdicts import doubted, largest
from semblance.ingest.recipe import parse
from semblance.ingest.records import Seen
from semblance.manifests.records import Face, Geometry, Measures, Verdict

RECIPE = parse({"faces": "largest"}, "test")


def face(person: int | None, side: float, frame: int = 0, confidence: float = 0.99, *reasons: str) -> Seen:
    box = (0.0, 0.0, side, side)
    return Seen(
        frame_index=frame,
        time_s=0.0,
        image=np.zeros((16, 16, 3), np.uint8),
        face=Face(box=box, landmarks=(0.0,) * 10, confidence=confidence, track=person or 0, person=person),
        geometry=Geometry(x0=0, y0=0, side=int(side)),
        measures=Measures(),
        verdict=Verdict(reasons=reasons, measured=1.0, limit=2.0) if reasons else Verdict(),
        stage="gate",
    )


def reasons(seen: list[Seen]) -> list[tuple[str, ...]]:
    return [one.verdict.reasons for one in seen if one.verdict is not None]


def test_the_largest_face_of_each_frame_is_kept() -> None:
    seen = largest([face(0, 90), face(1, 120), face(0, 130, 1), face(1, 100, 1)], RECIPE)
    assert reasons(seen) == [("not_largest",), (), (), ("not_largest",)]


def test_what_is_perhaps_no_face_does_not_take_the_place_of_one() -> None:
    """Clasped hands may be larger than the face above them."""
    seen = [doubted(one, RECIPE) for one in largest([face(0, 90), face(None, 200, 0, 0.96)], RECIPE)]
    assert reasons(seen)[0] == ()
    assert "doubtful" in reasons(seen)[1]


def test_every_face_is_kept_where_all_are_wanted() -> None:
    assert reasons(largest([face(0, 90), face(1, 120)], parse({}, "test"))) == [(), ()]


def test_doubt_is_added_to_what_a_gate_found_and_does_not_replace_it() -> None:
    one = doubted(face(None, 90, 0, 0.96, "blur"), RECIPE)
    assert one.verdict == Verdict(reasons=("blur", "doubtful"), measured=1.0, limit=2.0)
    alone = doubted(face(None, 90, 0, 0.96), RECIPE)
    assert alone.verdict == Verdict(reasons=("doubtful",), measured=0.96, limit=RECIPE.track.sure)
    assert doubted(face(0, 90), RECIPE).verdict == Verdict()
