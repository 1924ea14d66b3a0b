"""Sections on differences: between runs, over seeds, on methods that were left out, and of thresholds elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from semblance.quality.statistics.bootstrap import Estimate
from semblance.training.evaluation.comparison import MOST, Pair
from semblance.training.evaluation.evaluate import Evaluation
from semblance.training.evaluation.matrices import LeftOut, left_out, mean
from semblance.training.evaluation.report.blocks import Cell, Fold, Section, Table, Value
from semblance.training.evaluation.report.figures import both
from semblance.training.evaluation.results import LEAST_GROUPS
from semblance.training.evaluation.transfer import Transfer


def differences(result: Evaluation) -> Section | None:
    """Paired differences of AUC by video; None for one run."""
    if not result.pairs:
        return None
    which = "Every two runs" if len(result.scorers) <= MOST else "The first run and each other one"
    but = ", except repetitions of one recipe" if result.seeds else ""
    text = (
        f"{which}{but}, on the same videos, by video: AUC of the first minus AUC of the second. *difference* has the "
        f"middle 95 % of {result.options.draws} bootstrap draws of whole groups, the same draws for both, and its "
        "two-sided p comes from these draws, of which no fewer than one can be against it. DeLong's test takes all "
        "videos as independent, though the fakes of one original are not, so its interval is often too narrow: trust "
        f"the draws. *Holm* corrects for all lines of a table. With fewer than {LEAST_GROUPS} groups of a class "
        "nothing is tested."
    )
    tables = [_paired(dataset, result) for dataset in dict.fromkeys(one.dataset for one in result.pairs)]
    folds = [Fold(title=f"On {table.label.rpartition(', ')[2]} alone", blocks=[table]) for table in tables[1:]]
    return Section(title="Differences between runs", blocks=[text, tables[0], *folds])


def _paired(dataset: str | None, result: Evaluation) -> Table:
    pairs = [one for one in result.pairs if one.dataset == dataset]
    name = dataset or "all datasets"
    return Table(
        heading=["first", "second", "#AUC, first", "#AUC, second", "#difference", "#p", "#DeLong", "#p, DeLong"],
        lines=[_pair(one) for one in pairs],
        caption=f"Paired differences, {name}: {pairs[0].videos:,} videos.",
        label=f"Differences, {name}",
    )


def _pair(one: Pair) -> list[Value]:
    test = one.delong
    return [
        *(one.first, one.second),
        *(f"{one.first_auc:.3f}", f"{one.second_auc:.3f}"),
        both(one.change),
        _corrected(one.p, one.p_holm),
        Cell(text="-") if test is None else Cell(text=f"{test.value:.3f}", small=f"{test.low:.3f} to {test.high:.3f}"),
        _corrected(None if test is None else test.p, one.delong_holm),
    ]


def _corrected(p: float | None, holm: float | None) -> Cell:
    return Cell(text=probability(p), small="" if holm is None else f"Holm {probability(holm)}")


def probability(p: float | None) -> str:
    """A p-value, or a dash."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def over_seeds(result: Evaluation) -> Section | None:
    """Which runs are repetitions of one another; None if none are."""
    if not result.seeds:
        return None
    lines: list[list[Value]] = [
        [str(group), ", ".join(group.runs), ", ".join(map(str, group.seeds))] for group in result.seeds
    ]
    text = (
        "Recipes and training builds of these runs are equal but for the seed. Tables show each group as its mean ± "
        "the sample standard deviation over its runs: what training itself leaves to chance. Intervals of single runs "
        "show what the choice of test data leaves to chance."
    )
    table = Table(heading=["group", "runs", "seeds"], lines=lines, caption="Repetitions.", label="Seeds")
    return Section(title="Seeds", blocks=[text, table])


def left_out_methods(result: Evaluation) -> Section | None:
    """Methods that a run's training lacked; None if there are none."""
    found = left_out(result.rows)
    if not found:
        return None
    text = (
        "Runs whose training lacked a method, judged on it: what they lose on a manipulation that they have not seen. "
        "Known from the methods that each run records of its training builds. AUC by video, against the same reals."
    )
    each = Table(
        heading=["model", "data", "left out", "trained on", "#AUC, left out", "#AUC, trained on (mean)", "#lost"],
        lines=[_left_out(one) for one in found],
        caption="Each method left out.",
        label="Each method left out",
    )
    models = list(dict.fromkeys(one.model for one in found))
    means = [_mean(model, [one for one in found if one.model == model]) for model in models]
    means += [_mean(f"mean of {len(models)} models", found)] if len(models) > 1 else []
    whole = Table(
        heading=["model", "#methods left out", "#AUC, left out", "#AUC, trained on", "#lost"],
        lines=means,
        caption="Plain means over the methods left out; a method of several compressions counts once for each.",
        label="Methods left out",
    )
    return Section(title="Methods left out", blocks=[text, whole, Fold(title="Each method", blocks=[each])])


def _left_out(one: LeftOut) -> list[Value]:
    return [
        *(one.model, ", ".join(filter(None, (one.dataset, one.compression))), one.method, ", ".join(one.trained)),
        both(Estimate(value=one.auc.value, low=one.auc.low, high=one.auc.high)),
        *(_number(value) for value in (one.inside, one.gap)),
    ]


def _mean(name: str, found: Sequence[LeftOut]) -> list[Value]:
    values = [[one.auc.value for one in found], [one.inside for one in found], [one.gap for one in found]]
    return [name, f"{len(found)}", *(_number(mean(column)) for column in values)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def transfers(result: Evaluation) -> Section | None:
    """What each threshold costs on each dataset."""
    if not result.transfers:
        return None
    datasets = list(dict.fromkeys(one.dataset for one in result.transfers))
    lines: dict[tuple[str, str | None], list[Value]] = {}
    for one in result.transfers:
        lines.setdefault((one.model, one.source), []).append(_transferred(one))
    named: list[list[Value]] = [
        [model, "val" if source is None else f"best on {source}", *cells] for (model, source), cells in lines.items()
    ]
    text = (
        "Balanced accuracy by video at a threshold that was chosen elsewhere, and what this costs against the best "
        "threshold there. *val*: the threshold that this page uses everywhere else. *best on* a dataset: chosen on the "
        "evaluated videos themselves, so its figure on that dataset is too good, and shown only as the bound."
    )
    if len(datasets) == 1:
        text = text.partition(" *best on*")[0]
    heading = ["model", "threshold", *(f"#{dataset}" for dataset in datasets)]
    table = Table(heading=heading, lines=named, caption="Balanced accuracy, and the loss.", label="Thresholds")
    return Section(title="Thresholds elsewhere", blocks=[text, table])


def _transferred(one: Transfer) -> Cell:
    small = "the bound" if one.source == one.dataset else f"{one.loss:.3f} lost"
    return Cell(text=f"{one.balanced_accuracy:.3f}", small=small)
