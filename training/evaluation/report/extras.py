"""The optional sections of the page: conditions, groups, uncertainty, cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from semblance.training.evaluation.attacked import Attacked
from semblance.training.evaluation.cost import Cost
from semblance.training.evaluation.fairness import PARITY, Fairness
from semblance.training.evaluation.report import curves, security
from semblance.training.evaluation.report.blocks import Block, Points, Section, Table, Value
from semblance.training.evaluation.report.figures import both, shown
from semblance.training.evaluation.robustness import Change
from semblance.training.evaluation.selective import Risk
from semblance.training.evaluation.smoothing import Certificate
from semblance.training.inference.mc_dropout import UNCERTAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Optional parts of the page. ``pictures``: whether it shows faces. ``told``: notes on certificates."""

    changes: Sequence[Change] = ()
    fairness: Sequence[Fairness] = ()
    costs: Sequence[Cost] = ()
    uncertainty: Mapping[str, Risk] | None = None
    attacked: Attacked | None = None
    certificates: Sequence[Certificate] = ()
    told: Sequence[str] = ()
    pictures: bool = True

    @property
    def notes(self) -> list[str]:
        """What a reader should know of attacks and certificates, in sentences."""
        of_attacks = self.attacked.notes if self.attacked is not None else ()
        return list(dict.fromkeys([*of_attacks, *self.told]))


def sections(extras: Extras) -> list[Section]:
    """The sections that were asked for."""
    found = []
    if extras.uncertainty:
        found.append(_uncertain(extras.uncertainty))
    if extras.changes:
        found.append(_changed(extras.changes))
    if extras.attacked is not None:
        found.append(security.attacks(extras.attacked))
    if extras.certificates:
        found.append(security.certificates(extras.certificates, extras.told))
    if extras.fairness:
        found.append(_fair(extras.fairness))
    if extras.costs:
        found.append(_costly(extras.costs))
    return found


def _changed(changes: Sequence[Change]) -> Section:
    heading = ["model", "condition", "#videos", "#pictures", "#AUC before", "#after", "#change"]
    heading += ["#balanced acc. before", "#after"]
    lines: list[list[Value]] = [
        [
            *(change.model, change.name, f"{change.videos:,}", f"{change.pictures:,}"),
            *(both(value) for value in (change.before, change.after, change.change)),
            *(shown(change.balanced_before), shown(change.balanced_after)),
        ]
        for change in changes
    ]
    text = (
        "The same videos, by video, at val's threshold. JPEG and resizing are applied to the stored crops, not to the "
        "videos, so faces were detected on clean frames. A build is compared on the samples that both have."
    )
    blocks: list[Block] = [text, Table(heading=heading, lines=lines, caption="Changes.", label="Changes")]
    if cut := dict.fromkeys(f"{change.name}: {difference}." for change in changes for difference in change.cut):
        blocks.append(Points(points=list(cut)))
    drawings = curves.degradation(changes)
    return Section(title="Under other conditions", blocks=[*blocks, *([drawings] if drawings else [])])


def _fair(results: Sequence[Fairness]) -> Section:
    heading = ["model", "group", "#videos", "#fakes (base rate)", "#AUC", "#FPR", "#FNR", "#called fake"]
    lines: list[list[Value]] = []
    gaps = []
    for result in results:
        for group in result.groups:
            cells = [both(group.figures[name]) for name in ("base", "auc", "fpr", "fnr", "positive")]
            lines.append([result.model, group.name, f"{group.videos:,}", *cells])
        gaps.append(
            f"{result.model}: equal-opportunity gap {both(result.opportunity)}, demographic-parity difference "
            f"{both(result.parity)}; {result.ungrouped:,} scored videos are in no group."
        )
    table = Table(heading=heading, lines=lines, caption="By group, by video, at val's threshold.", label="Groups")
    return Section(title="Groups", blocks=[PARITY, Points(points=gaps), table])


def _costly(costs: Sequence[Cost]) -> Section:
    heading = [
        "run",
        "device",
        "#ms per crop, alone",
        "#in a batch of 32",
        "#GFLOP per crop",
        "#peak MiB",
        "J per crop",
    ]
    lines: list[list[Value]] = []
    for cost in costs:
        values = [f"{cost.alone_ms:.1f}", f"{cost.batch_ms:.1f}", f"{cost.gflop:.3f}", f"{cost.memory_mib:.0f}"]
        joules = f"not measured: {cost.metered}" if cost.energy_j is None else f"{cost.energy_j:.3g} ({cost.metered})"
        lines.append([cost.model, cost.device, *values, joules])
    text = (
        "A multiplication and an addition count as two floating-point operations; torch counts those of convolutions "
        "and matrix products. Memory is the peak of the process so far, or of the GPU. Energy is measured in batches "
        "of 32 by the counter of the part named, so it includes idle power and everything else that ran on it."
    )
    table = Table(heading=heading, lines=lines, caption="Cost of inference.", label="Cost")
    return Section(title="Cost", blocks=[text, table])


def _uncertain(risks: Mapping[str, Risk]) -> Section:
    heading = ["model", "#videos", f"#uncertain (above {UNCERTAIN})", "#wrong of all", "#wrong of the certain"]
    lines: list[list[Value]] = []
    for model, risk in risks.items():
        certain = "-" if risk.wrong_certain is None else f"{risk.wrong_certain:.3f}"
        lines.append([model, f"{risk.videos:,}", f"{risk.uncertain:,}", f"{risk.wrong:.3f}", certain])
    text = (
        f"Monte-Carlo dropout: twice the standard deviation of the probability over {next(iter(risks.values())).passes}"
        " passes with active dropout layers. Runs without a dropout layer are not listed."
    )
    table = Table(heading=heading, lines=lines, caption="Risk at val's threshold, by video.", label="Uncertainty")
    return Section(title="Uncertainty", blocks=[text, table, curves.risk(risks)])
