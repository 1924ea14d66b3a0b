"""The registry is the one list: what is on disk, in recipes and in audits follows from it and stays as it was."""

from __future__ import annotations

from dataclasses import fields

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semblance.manifests import schema
from semblance.manifests.config import canonical_json
from semblance.manifests.records import Measures
from semblance.quality.checks import drift, shortcuts
from semblance.quality.gates import GatesConfig
from semblance.quality.measures import registry
from semblance.quality.measures.measure import Gate

DEFAULTS = (
    '{"blur":50.0,"brightness":[0.3,0.9],"confidence":0.95,"face_ratio":0.6,"min_face":80.0,"mode":"drop",'
    '"pairs":"together"}'
)


def test_every_field_has_one_measure_and_every_measure_a_column() -> None:
    names = [measure.name for measure in registry.ALL]
    assert len(set(names)) == len(names)
    assert {measure.name for measure in registry.ALL if measure.recorded} == {field.name for field in fields(Measures)}
    for measure in registry.ALL:
        assert measure.source
        assert measure.function.__doc__ or measure.recorded  # a recorded one is explained by its column
        for table in (schema.SAMPLES, schema.REJECTS):
            empty = pl.from_arrow(table.empty_table())
            assert isinstance(empty, pl.DataFrame)
            assert empty.select(pl.sql_expr(measure.expression)).width == 1


def test_the_words_of_recipes_and_rejects_are_those_of_builds_on_disk() -> None:
    assert canonical_json(GatesConfig().model_dump(mode="json")) == DEFAULTS
    reasons = [reason for _, gate in registry.GATED for reason in gate.reasons]
    assert reasons == ["confidence", "small", "dark", "bright", "face_ratio", "blur"]
    assert registry.PAIR not in reasons
    keys = ["confidence", "min_face", "brightness", "brightness", "face_ratio", "blur"]
    assert [registry.recipe_key(reason) for reason in reasons] == [f"gates.{key}" for key in keys]
    assert registry.recipe_key("pair") == "gates.pairs"
    assert registry.recipe_key("no_face") is None is registry.recipe_key(None)
    assert all(
        key.removeprefix("gates.") in GatesConfig.model_fields for key in map(registry.recipe_key, reasons) if key
    )


def test_gates_have_places_and_keys_of_their_own() -> None:
    gates = [gate for _, gate in registry.GATED]
    assert len({gate.place for gate in gates}) == len({gate.key for gate in gates}) == len(gates)
    assert all(gate.reasons for gate in gates)


def test_audits_see_what_their_role_allows() -> None:
    roles = {measure.name: measure.role for measure in registry.ALL}
    seen = {*shortcuts.ACQUISITION, *shortcuts.FACE}
    for name, role in roles.items():
        assert (name in shortcuts.ACQUISITION) == (role == "acquisition")
        assert (name in shortcuts.FACE) == (role == "face")
        assert (name in shortcuts.BARRED) == (role in ("label", "identity"))
        assert not (name in seen and name in shortcuts.BARRED)
        assert (name in drift.CROPS) == (role != "identity" and name != "side")
    hashes = {"phash", "frame_phash", "aligned_phash", "aligned_phash_mirrored"}
    assert {name for name, role in roles.items() if role == "identity"} == {"ita", *hashes}


@given(
    value=st.none() | st.floats(-10, 10),
    low=st.floats(-5, 5),
    width=st.floats(0, 5),
    reasons=st.sampled_from([("low", None), (None, "high"), ("low", "high")]),
)
def test_a_gate_fails_exactly_what_lies_beyond_its_limits(
    value: float | None, low: float, width: float, reasons: tuple[str | None, str | None]
) -> None:
    below, above = reasons
    gate = Gate(key="key", place=1, default=None, below=below, above=above, extreme="worst")
    high = low + width
    limit = (low, high) if below and above else low if below else high
    failed = list(gate.failures(value, limit))
    expected = []
    if value is not None and below and value < low:
        expected.append(("low", value, low))
    if value is not None and above and value > high:
        expected.append(("high", value, high))
    assert failed == expected
    assert list(gate.failures(value, None)) == []


def test_a_range_must_ascend() -> None:
    with pytest.raises(ValueError, match=r"gates\.brightness must be \(lowest, highest\)"):
        GatesConfig(brightness=(0.9, 0.3))
    with pytest.raises(ValueError, match="extra"):
        GatesConfig(yaw=60)
