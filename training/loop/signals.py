"""SIGTERM among several ranks: all of them stop after the same step, and no step asks the others for it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException


class StopSignal:
    """Whether this rank was asked to stop.

    Lightning would broadcast the question before every batch and wait for the device's answer. Here it travels with
    the losses, when they are fetched (``Ledger.pull``), so a run stops some steps late.
    """

    def __init__(self) -> None:
        self.asked = False  # this rank
        self.agreed = False  # all ranks know that one was

    def listen(self, trainer: Trainer) -> None:
        """Take the signal over from Lightning, which puts back the handler from before the run."""
        loop: Any = trainer.fit_loop.epoch_loop
        loop._broadcast_sigterm_tensor = _nothing
        launcher = trainer.strategy.launcher

        def notice(number: int, _: FrameType | None) -> None:
            if not self.asked and launcher is not None:
                launcher.kill(number)  # to the ranks that this one started
            self.asked = True

        signal.signal(signal.SIGTERM, notice)

    def obey(self, trainer: Trainer) -> None:
        """Raise what ends the run as Lightning would, if a rank was asked to stop; all ranks call this together."""
        if self.agreed:
            trainer._signal_connector.received_sigterm = True
            raise SIGTERMException


def _nothing() -> None:
    pass
