"""Every error class of Semblance, drawn as a tree.

SemblanceError            one sentence for the user: what, where, what to do (exit code 1)
├── UsageError            the command or recipe requests something impossible (exit code 2)
├── StorageError          a disk or an object store fails
├── ArchiveError          a foreign archive cannot be read completely
├── VideoError            a file that cannot be decoded at all
└── NotANumberError       a training loss that is not a number

DefectError               a defect of the program: shown with its traceback, never as a sentence
├── ConservationError     counts that do not add up
└── ChildError            an exception inside the supervised child process
ContentDiffersError       control flow: a guided crop differs from its original's outside the face box
"""

from __future__ import annotations

from typing import Literal


class SemblanceError(Exception):
    """An error for the user: one sentence that says what, where, and what to do."""

    exit_code = 1


class UsageError(SemblanceError):
    """The command or recipe requests something impossible: exit code 2."""

    exit_code = 2


class StorageError(SemblanceError):
    """A failure of storage, not of a video and not of the program."""


class ArchiveError(SemblanceError):
    """A foreign archive that cannot be read completely; the message is a phrase without a full stop."""


class DefectError(Exception):
    """A defect of the program, never of the data: shown with its traceback; it stops a build immediately."""


class ConservationError(DefectError):
    """Counts that do not add up: a defect of the program, never of the data."""


class VideoError(SemblanceError):
    """A file that cannot be decoded at all; ``status`` is ``empty``, ``decode_error`` or ``hdr``."""

    def __init__(self, status: Literal["empty", "decode_error", "hdr"], sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ChildError(DefectError):
    """A programming error inside the child; the message is its traceback."""


class ContentDiffersError(Exception):
    """A guided crop differs from its original's outside the face box."""


class NotANumberError(SemblanceError):
    """A loss, or an update of the weights, that is not a number: the step, and the samples of all ranks in it."""

    def __init__(self, step: int, epoch: int, sample_ids: tuple[str, ...], what: str = "loss") -> None:
        self.step, self.epoch, self.sample_ids = step, epoch, sample_ids
        more = f" and {len(sample_ids) - 8} more (all in failure.json)" if len(sample_ids) > 8 else ""
        super().__init__(
            f"The {what} of step {step} (epoch {epoch}) is not a number for the samples "
            f"{', '.join(sample_ids[:8])}{more}; "
            "inspect them, or start a new run with a lower optimiser.lr or a clip_norm; nothing of this step is saved."
        )
