"""Every error class of Semblance, drawn as a tree.

SemblanceError            one sentence for the user: what, where, what to do (exit code 1)
├── UsageError            the command or recipe asks for something impossible (exit code 2)
├── StorageError          a disk or an object store does not do what it is asked
├── ArchiveError          a foreign archive cannot be read, or not to its end
├── VideoError            a file of which nothing can be decoded
└── NotANumberError       a training loss that is not a number

InternalError             a defect of the program: never shown as a sentence, always with its traceback
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
    """The command was asked for something that cannot be asked: exit code 2."""

    exit_code = 2


class StorageError(SemblanceError):
    """Storage that does not do what it is asked for: no fault of a video, and none of the program."""


class ArchiveError(SemblanceError):
    """A foreign archive that cannot be read, or not to its end; the message is a phrase without full stop."""


class DefectError(Exception):
    """A defect of the program, never of the data: shown with its traceback, and it stops a build at once."""


class ConservationError(DefectError):
    """Counts that do not add up: a defect of the program, never of the data."""


class VideoError(SemblanceError):
    """A file of which nothing can be decoded; ``status`` is ``empty`` or ``decode_error``."""

    def __init__(self, status: Literal["empty", "decode_error"], sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ChildError(DefectError):
    """A programming error inside the child; the message is its traceback."""


class ContentDiffersError(Exception):
    """A guided crop does not agree with its original's outside the face box."""


class NotANumberError(SemblanceError):
    """A loss that is no number: the step, and the samples on all ranks that gave it."""

    def __init__(self, step: int, epoch: int, sample_ids: tuple[str, ...]) -> None:
        self.step, self.epoch, self.sample_ids = step, epoch, sample_ids
        more = f" and {len(sample_ids) - 8} more (all in failure.json)" if len(sample_ids) > 8 else ""
        super().__init__(
            f"The loss of step {step} (epoch {epoch}) is no number, on the samples {', '.join(sample_ids[:8])}{more}: "
            "look at them, or start anew with a lower optimiser.lr or a clip_norm; nothing of this step is saved."
        )
