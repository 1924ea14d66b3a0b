"""Verdicts: monotone, ordered, and never on what is unknown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests.records import Face, Measures, Verdict
from semblance.quality.gates import GatesConfig, judge

ORDER = ("confidence", "small", "dark", "bright", "face_ratio", "blur", "pair")
MAYBE = st.none() | st.floats(0, 1)
MEASURES = st.builds(Measures, blur=st.none() | st.floats(0, 500), brightness=MAYBE, face_ratio=MAYBE)
FACES = st.builds(
    lambda side, confidence: Face(box=(0.0, 0.0, side, side / 2), landmarks=(0.0,) * 10, confidence=confidence),
    st.floats(1, 300),
    st.floats(0, 1),
)
SURE = Face(box=(0, 0, 100, 100), landmarks=(0.0,) * 10, confidence=1.0)


@given(face=FACES, measures=MEASURES)
def test_reasons_are_ordered_and_the_first_is_explained(face: Face, measures: Measures) -> None:
    verdict = judge(face, measures, GatesConfig())
    assert list(verdict.reasons) == [reason for reason in ORDER if reason in verdict.reasons]
    assert verdict.keep == (verdict.measured is None)
    if verdict.reason == "bright":
        assert verdict.measured > verdict.limit
    elif not verdict.keep:
        assert verdict.measured < verdict.limit


@given(face=FACES, measures=MEASURES, looser=st.floats(0, 50))
def test_a_looser_limit_never_rejects_more(face: Face, measures: Measures, looser: float) -> None:
    strict = judge(face, measures, GatesConfig(blur=50, min_face=80))
    loose = judge(face, measures, GatesConfig(blur=50 - looser, min_face=80 - looser))
    assert set(loose.reasons) <= set(strict.reasons)


def test_what_is_unknown_is_never_judged() -> None:
    assert judge(SURE, Measures(), GatesConfig()).keep


@given(face=FACES, measures=MEASURES)
def test_gates_that_are_off_let_all_pass(face: Face, measures: Measures) -> None:
    off = GatesConfig(confidence=None, min_face=None, blur=None, brightness=None, face_ratio=None)
    assert judge(face, measures, off).keep


@given(face=FACES, measures=MEASURES)
def test_pairs_stand_and_fall_together(face: Face, measures: Measures) -> None:
    own = judge(face, measures, GatesConfig())
    dark = Verdict(reasons=("dark",), measured=0.1, limit=0.3)
    assert judge(face, measures, GatesConfig(), Verdict()).keep
    fallen = judge(face, measures, GatesConfig(), dark)
    assert fallen.reasons == (*own.reasons, "pair")
    expected = (dark.measured, dark.limit) if own.keep else (own.measured, own.limit)
    assert (fallen.measured, fallen.limit) == expected
    assert judge(face, measures, GatesConfig(pairs="own"), dark) == own
