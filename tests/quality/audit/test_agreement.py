"""Whatever leaks are planted under whatever protocol: audit, report, verify and card agree in level and counts."""

from __future__ import annotations

import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from semblance.manifests import leaks
from semblance.manifests.errors import SemblanceError
from semblance.manifests.records import Finding, Outcome
from semblance.quality import cli as quality_cli
from semblance.quality.audit import findings
from semblance.quality.audit.run import audit
from semblance.quality.audit.text import headline, verdict
from semblance.quality.report import page
from semblance.shards import cli as shards_cli
from semblance.shards.verify import verify
from tests.quality import planted
from tests.quality.planted import Faults
from tests.shards import synthetic

PROTOCOLS = ("family", "identity", "official", "official_clean", "method", "temporal")
KINDS = {
    "family": ("family_id",),
    "person": ("target_id", "donor_id"),
    "recording": ("recording_id", "donor_recording_id"),
    "method": ("method",),
}
EVERYWHERE = {  # law 3, written down once more; a published split leaks whatever its parts share
    "family": {"family"},
    "temporal": {"family"},
    "method": {"family"},
    "identity": {"family", "person", "recording"},
    "official": {"family", "person", "recording"},
    "official_clean": set(),
}
FROM_TEST = {"method": {"method"}, "official_clean": {"recording"}}


def outcome(row: dict[str, Any]) -> Outcome:
    return synthetic.outcome(row, 4, 300) if row["fault"] else planted.outcome(row, Faults())


def leaky(out: Path, seed: int, protocol: str, moves: int, names: bool) -> None:
    """A build of some families, of which some videos lie in another split than the protocol says."""
    chance = random.Random(seed)
    videos = [one for one in synthetic.people(chance, chance.randint(4, 8)) if one.label is not None]

    def change(table: pl.DataFrame) -> pl.DataFrame:
        split = dict(table.select("video_id", "split").iter_rows())
        for name in chance.sample(sorted(split), min(moves, len(split))):
            split[name] = chance.choice(["train", "val", "test"])
        table = table.with_columns(split=pl.col("video_id").replace_strict(split))
        unknown = [] if names else ["target_id", "donor_id", "recording_id"]
        return table.with_columns(pl.lit(None, pl.String).alias(name) for name in unknown)

    synthetic.build(out, videos, f"split.protocol={protocol}", make=outcome, change=change)


def counted(out: Path, protocol: str) -> dict[str, set[str]]:
    """Level and kind -> ids in several splits, by sets alone."""
    splits: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in pl.read_parquet(out / "plan.parquet").iter_rows(named=True):
        if row["fault"] is None and row["split"] != "unassigned":
            for kind, columns in KINDS.items():
                for name in {row[column] for column in columns} - {None}:
                    if kind != "method" or row["label"] == 1:
                        splits[kind, name].add(row["split"])
    found: defaultdict[str, set[str]] = defaultdict(set)
    promised = EVERYWHERE[protocol] | FROM_TEST.get(protocol, set())
    for (kind, name), where in splits.items():
        if len(where) > 1:
            if kind in EVERYWHERE[protocol] or (kind in promised and "test" in where):
                found[f"broken {kind}"].add(name)
            elif kind not in promised and kind != "method":
                found[f"warning {kind}"].add(name)
    return found


def of_law(found: tuple[Finding, ...] | list[Finding]) -> list[Finding]:
    return [one for one in found if one.law == leaks.LAW and one.level != "note"]


def kind_of(one: Finding) -> str:
    """A finding's level and what it counts."""
    (kind,) = (kind for kind in KINDS if leaks.counted(len(one.ids), kind) in one.what)
    return f"{one.level} {kind}"


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    protocol=st.sampled_from(PROTOCOLS),
    moves=st.integers(0, 3),
    names=st.booleans(),
)
def test_all_pages_agree(seed: int, protocol: str, moves: int, names: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        try:
            leaky(out, seed, protocol, moves, names)
        except SemblanceError:  # this collection has no such split
            assume(False)
        commands = CliRunner()
        shown = commands.invoke(quality_cli.app, ["audit", str(out), "--json", f"{folder}/audit.json"])
        figures = json.loads(Path(folder, "audit.json").read_text())
        found = [Finding(**one | {"ids": tuple(one["ids"])}) for one in figures["builds"][0]["findings"]]
        of_audit = of_law(found)
        assert {kind_of(one): set(one.ids) for one in of_audit} == counted(out, protocol)
        assert shown.exit_code == int(figures["broken"]) == int(findings.level(found) == "broken")
        assert shown.stdout.startswith(figures["verdict"])

        checked = verify(str(out), deep=False)
        assert (checked.problems, checked.leaks) == ([], of_audit)
        leaking = any(one.level == "broken" for one in of_audit)
        shown = commands.invoke(shards_cli.app, ["verify", str(out)])
        assert shown.exit_code == int(leaking)
        assert ("the active split leaks" in shown.stdout) is leaking

        written = page.write(str(out))
        assert list(written.findings) == found
        said = json.loads((out / page.JSON).read_text())
        assert (said["level"], said["verdict"]) == (figures["level"], headline(found))
        html = (out / page.PAGE).read_text()
        assert all(one.what in html for one in of_audit)

        card = [line for line in (out / "CARD.md").read_text().splitlines() if line.startswith(("- broken", "- warn"))]
        assert card == [f"- {one.level}: {one.what}" for one in of_audit]


def test_one_person_in_train_and_test_of_an_official_split(tmp_path: Path) -> None:
    """The build on which four judges once said four things."""
    videos = planted.videos(6, Faults())
    named = {one.video_id: "ann" if place in (0, 3) else f"p{place}" for place, one in enumerate(videos)}
    where = {one.family_id: ("train", "test", "val")[place // 3 % 3] for place, one in enumerate(videos)}

    def change(table: pl.DataFrame) -> pl.DataFrame:
        split = pl.col("family_id").replace_strict(where)
        return table.with_columns(target_id=pl.col("video_id").replace_strict(named), split=split, split_official=split)

    synthetic.build(tmp_path / "out", videos, "split.protocol=family", make=outcome, change=change)
    described = json.loads((tmp_path / "out/dataset.json").read_text()) | {"split": "official"}
    (tmp_path / "out/dataset.json").write_text(json.dumps(described))
    what = "1 person in more than one of train, val and test under official"
    judged = audit([str(tmp_path / "out")])
    assert verdict(judged) == (
        f"BROKEN: {tmp_path / 'out'} under official: {what}; promised, but not one is named: recordings"
    )
    assert verify(str(tmp_path / "out"), deep=False).leaks == of_law(judged.findings)
    shown = CliRunner().invoke(shards_cli.app, ["verify", str(tmp_path / "out")])
    assert shown.exit_code == 1
    assert ": whole" not in shown.stdout
    assert "the active split leaks" in shown.stdout
    assert f"broken: {what}: ann" in shown.stderr
    assert headline(page.write(str(tmp_path / "out")).findings).startswith("BROKEN: 1 broken")
    assert not audit([str(tmp_path / "out")], allow=["ann"]).broken
