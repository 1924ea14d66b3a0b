"""An external detector as an evaluation sees it: a name, and a logit for every picture of a selection.

N: pictures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.quality import codec
from semblance.training.data import reader
from semblance.training.data.query import Selection
from semblance.training.data.shards import Shard
from semblance.training.data.worker import Transform
from semblance.training.evaluation.external import function, service
from semblance.training.evaluation.external.function import Function
from semblance.training.evaluation.external.service import Service
from semblance.training.inference.predictor import sigmoid
from semblance.training.metrics.classification import Floats

BATCH: Final = 32
CLIP: Final = 1e-7  # probabilities are moved this far from 0 and 1
_PNG: Final = codec.EncodingConfig(format="png")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class External:
    """Somebody else's detector, of which nothing is known but its answers.

    ``more``: what else it is sent than the evaluated split and val, in words.
    """

    name: str
    source: Function | Service
    more: tuple[str, ...] = ()

    @property
    def datasets(self) -> None:
        """Nobody knows what it was trained on."""
        return

    @property
    def calibration_families(self) -> frozenset[str]:
        return frozenset()

    def probability(self, logit: Any, level: str) -> Any:
        """1 / (1 + exp(-logit)), at every level: it has no temperature."""
        del level
        return sigmoid(logit)

    def outputs(self, selection: Selection, transform: Transform | None = None, batch: int = BATCH) -> pl.DataFrame:
        """sample_id and logit of each selected picture, in the order of the shards.

        A function is given the decoded crops (S, S, 3) uint8 RGB at the size at which they are stored, which may
        differ between builds; a service is sent the files as stored, or PNG if ``transform`` changed the crop. The
        logit is log(p / (1 - p)) of the answer p, clipped to [1e-7, 1 - 1e-7]. Raises SemblanceError for a damaged
        shard, or for an answer that is no probability for each picture.
        """
        names: list[str] = []
        logits: list[Floats] = []
        asked: list[Any] = []
        for name, crop in self._crops(selection, transform):
            names.append(name)
            asked.append(crop)
            if len(asked) == batch:
                logits.append(self._ask(names[-len(asked) :], asked))
                asked = []
        if asked:
            logits.append(self._ask(names[-len(asked) :], asked))
        return pl.DataFrame({"sample_id": names, "logit": np.concatenate(logits or [np.zeros(0)])})

    def _crops(self, selection: Selection, transform: Transform | None) -> Iterator[tuple[str, Any]]:
        wanted = {str(key[0]): int(key[1]) for key in selection.pictures.select("sample_id", "shard").iter_rows()}
        for number, shard in enumerate(selection.shards):
            for name, members in reader.read(shard):
                if wanted.get(name) == number:
                    yield name, self._crop(name, members, shard, transform)

    def _crop(self, name: str, members: reader.Members, shard: Shard, transform: Transform | None) -> Any:
        if transform is None and isinstance(self.source, Service):
            return reader.stored(members)
        image = reader.picture(name, members, shard)
        if transform is not None:
            image = np.ascontiguousarray(transform(image, None, name))
        return codec.encode(image, _PNG) if isinstance(self.source, Service) else image

    def _ask(self, names: Sequence[str], crops: Sequence[Any]) -> Floats:
        p_N = self._probabilities(names, self.source.ask(self.name, crops)).clip(CLIP, 1 - CLIP)
        return np.asarray(np.log(p_N) - np.log1p(-p_N))

    def _probabilities(self, names: Sequence[str], answer: Any) -> Floats:
        """The answer as (N,) numbers; N lists of one number each are taken as well."""
        said = f"The external detector {self.name} must return a probability of fake in [0, 1] for each picture, but"
        try:
            found = np.asarray(answer)
            numeric = found.dtype.kind in "biuf" or (found.dtype.kind == "O" and found.ndim == 1)
            value = found.astype(np.float64) if numeric else None
        except Exception as error:  # torch's tensors that are on a device or need gradients; lists of unequal length
            raise SemblanceError(
                f"{said} for {len(names)} pictures it returned a {type(answer).__name__} that is no array of numbers "
                f"({' '.join(str(error).split())}); return a list of numbers or a NumPy array."
            ) from error
        if value is None or value.shape not in ((len(names),), (len(names), 1)):
            form = "no numbers" if value is None else f"numbers of shape {tuple(value.shape)}"
            raise SemblanceError(f"{said} for {len(names)} pictures it returned {form}; return one number a picture.")
        p_N = value.reshape(len(names))
        wrong = ~(np.isfinite(p_N) & (p_N >= 0) & (p_N <= 1))
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            raise SemblanceError(
                f"{said} it returned {p_N[place]:g} for {names[place]}; apply a sigmoid or softmax to its logits, and "
                "answer every picture."
            )
        return np.asarray(p_N)


def parse(text: str, *, send: bool = False, more: Sequence[str] = ()) -> External:
    """The external detector that ``NAME=module:function``, ``NAME=file.py:function`` or ``NAME=http://...`` means.

    Imports the function. ``send``: a service may be asked. ``more``: what else it is sent, in words. Raises UsageError
    for another form, or if there is no such function.
    """
    name, equals, where = text.partition("=")
    if not (equals and where and re.fullmatch(r"[\w.-]+", name)):
        raise UsageError(
            f"--external {text} is not of the form NAME=module:function, NAME=path/to/file.py:function or "
            "NAME=http://host:port/path, with a NAME of letters, digits, '.', '-' and '_'."
        )
    scheme, separator, _ = where.partition("://")
    if not separator:
        return External(name=name, source=function.load(name, where))
    if scheme not in ("http", "https"):
        raise UsageError(f"--external {name}: {scheme}:// is no address of a service; give http:// or https://.")
    return External(name=name, source=service.parse(name, where, send=send), more=tuple(more))
