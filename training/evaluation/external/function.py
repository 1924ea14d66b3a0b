"""A detector as a Python function: imported by name or from a file, and called with batches of pictures."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from semblance.manifests.errors import SemblanceError, UsageError
from semblance.manifests.records import Image

_FORMS = "give module:function, or path/to/file.py:function"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Function:
    """``call`` takes a list of pictures and returns as many probabilities of fake.

    ``text``: as it was given. ``file``: the name of its module's source file, and ``sha256`` that file's; both None
    for a module without one. Neither says anything about what the module imports, nor about weights that it loads.
    """

    text: str
    call: Callable[[Sequence[Image]], Any]
    file: str | None
    sha256: str | None

    def ask(self, name: str, pictures: Sequence[Image]) -> Any:
        """What the function returns for pictures (S, S, 3) uint8 RGB; ``name`` is for errors.

        Raises SemblanceError if the function raises.
        """
        try:
            return self.call(list(pictures))
        except (Exception, SystemExit) as error:
            raise SemblanceError(
                f"The external detector {name} failed on a batch of {len(pictures)} pictures: {_told(error)}; fix "
                f"{self.text}."
            ) from error


def load(name: str, text: str) -> Function:
    """Import the function that ``text`` names.

    ``module:function`` is looked for among installed modules, then in the working directory.
    ``path/to/file.py:function`` is a file, which can import its neighbours. The function may stand inside an object:
    ``module:model.predict``. Raises UsageError if there is no such function, or if its module cannot be imported.
    """
    where, colon, attribute = text.rpartition(":")
    if not (colon and where and attribute):
        raise UsageError(f"--external {name}={text} names no function; {_FORMS}.")
    module = _from_file(name, Path(where)) if where.endswith(".py") else _from_name(name, where)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        what = "has no" if found is None else "has a value that cannot be called under the name"
        place = getattr(module, "__file__", None) or where
        raise UsageError(f"--external {name}={text}: {place} {what} {attribute}; {_FORMS}.")
    source = getattr(module, "__file__", None)
    file = Path(source) if source and source.endswith(".py") else None
    return Function(
        text=text,
        call=found,
        file=None if file is None else file.name,
        sha256=None if file is None else hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def _from_name(name: str, module: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise UsageError(
                f"--external {name}: there is no module {module}, neither installed nor in the working directory; "
                f"{_FORMS}."
            ) from error
        raise _unimportable(name, module, error) from error
    except (Exception, SystemExit) as error:
        raise _unimportable(name, module, error) from error


def _from_file(name: str, file: Path) -> ModuleType:
    try:
        code = file.read_bytes()
    except OSError as error:
        raise UsageError(f"--external {name}: {file} cannot be read ({error.strerror}); {_FORMS}.") from error
    place = file.resolve()
    key = f"_external_{hashlib.sha256(str(place).encode() + code).hexdigest()[:16]}_{file.stem}"
    if key in sys.modules:
        return sys.modules[key]
    _importable(place.parent)
    spec = importlib.util.spec_from_file_location(key, place)
    if spec is None or spec.loader is None:
        raise UsageError(f"--external {name}: {file} cannot be imported; {_FORMS}.")
    module = sys.modules[key] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[key]
        raise _unimportable(name, str(file), error) from error
    return module


def _importable(folder: Path) -> None:
    """Add a folder behind all others, so that no file in it hides an installed module."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


def _unimportable(name: str, module: str, error: BaseException) -> UsageError:
    return UsageError(f"--external {name}: importing {module} fails: {_told(error)}; fix it.")


def _told(error: BaseException) -> str:
    """An error with the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    message = " ".join(str(error).split())
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {message}' if message else ''}{place}"
