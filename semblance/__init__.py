"""Semblance: from collections of real and manipulated face videos to training-ready shards and trained detectors.

The public door for Python. Every name is loaded when it is first used, so that importing this module costs nothing::

    import semblance

    plan = semblance.plan("dfdc", "data/dfdc", semblance.load_recipe("plan", ["sampling.n=16"]))
    semblance.build(plan, "out/dfdc")
    reals = semblance.scan("out/dfdc").filter(label=0).collect()
    loader = semblance.Loader(semblance.select(["out/dfdc"], "train"), batch=32)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from semblance.ingest.plan import Plan
    from semblance.ingest.plan import make as plan
    from semblance.ingest.recipe import Recipe
    from semblance.ingest.recipe import load as load_recipe
    from semblance.ingest.run.build import Built, build
    from semblance.manifests.errors import SemblanceError, UsageError
    from semblance.manifests.tables import scan
    from semblance.quality.audit.run import audit
    from semblance.shards.export import export
    from semblance.shards.verify import verify
    from semblance.training.data.loader import Loader
    from semblance.training.data.query import Selection, select

    __version__: str

__all__ = [
    "Built",
    "Loader",
    "Plan",
    "Recipe",
    "Selection",
    "SemblanceError",
    "UsageError",
    "__version__",
    "audit",
    "build",
    "export",
    "load_recipe",
    "plan",
    "scan",
    "select",
    "verify",
]

_HOMES: Final = {
    "Built": ("semblance.ingest.run.build", "Built"),
    "Loader": ("semblance.training.data.loader", "Loader"),
    "Plan": ("semblance.ingest.plan", "Plan"),
    "Recipe": ("semblance.ingest.recipe", "Recipe"),
    "Selection": ("semblance.training.data.query", "Selection"),
    "SemblanceError": ("semblance.manifests.errors", "SemblanceError"),
    "UsageError": ("semblance.manifests.errors", "UsageError"),
    "audit": ("semblance.quality.audit.run", "audit"),
    "build": ("semblance.ingest.run.build", "build"),
    "export": ("semblance.shards.export", "export"),
    "load_recipe": ("semblance.ingest.recipe", "load"),
    "plan": ("semblance.ingest.plan", "make"),
    "scan": ("semblance.manifests.tables", "scan"),
    "select": ("semblance.training.data.query", "select"),
    "verify": ("semblance.shards.verify", "verify"),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("semblance")
    if name not in _HOMES:
        raise AttributeError(f"module 'semblance' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = getattr(importlib.import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
