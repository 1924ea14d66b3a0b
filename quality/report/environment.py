"""The templates of pages: one look, and everything escaped, control characters included."""

from __future__ import annotations

import jinja2
from markupsafe import Markup, escape

from semblance.manifests.console import plain


def environment(*packages: str) -> jinja2.Environment:
    """A template environment of these packages' folders ``templates``, and of the quality report's."""
    templates = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package, "templates") for package in (*packages, "semblance.quality.report")]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_plain,
    )
    templates.filters["count"] = lambda value: "" if value is None else f"{value:,}"
    templates.filters["percent"] = lambda value: "" if value is None else f"{value:.1%}"
    templates.filters["figure"] = lambda value: "" if value is None else f"{value:.2f}"
    templates.filters["code"] = code
    return templates


def _plain(value: object) -> object:
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def code(text: str) -> Markup:
    """Escaped text with `commands` in backticks set as code."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(plain(part)) if place % 2 else escape(plain(part))
        for place, part in enumerate(parts)
    )
