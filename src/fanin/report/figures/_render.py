"""Specifications to pictures, by vl-convert: no browser, no network."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any

from fanin._optional import require

if TYPE_CHECKING:
    from fanin.report.figures._base import Spec
    from fanin.report.figures._theme import Theme

__all__ = ["DIALECT", "available", "pdf", "png", "svg", "themed"]

DIALECT = "5.21"
"""The last release of Vega-Lite 5."""


def available() -> bool:
    """Whether pictures can be made here."""
    return importlib.util.find_spec("vl_convert") is not None


def _converter() -> Any:
    return require("vl_convert", extra="figures", purpose="drawing a figure as SVG, PNG or PDF")


def svg(spec: Spec) -> str:
    """The drawing as SVG text.

    Raises:
        MissingExtraError: without vl-convert, as do all functions here.
    """
    return _renumbered(str(_converter().vegalite_to_svg(spec, vl_version=DIALECT, allowed_base_urls=[])))


def _renumbered(drawing: str) -> str:
    """The same with ids counted from 0: the converter goes on counting, so equal figures would not be equal files."""
    ids: dict[str, str] = {}
    for name in re.findall(r'\bid="([^"]+)"', drawing):
        ids.setdefault(name, f"d{len(ids)}")
    return re.sub(r'\b(id="|href="#|url\(#)([^")]+)', lambda match: match[1] + ids.get(match[2], match[2]), drawing)


def png(spec: Spec, *, scale: float = 2.0) -> bytes:
    """The drawing as PNG bytes; ``scale`` pixels to a point."""
    return bytes(_converter().vegalite_to_png(spec, vl_version=DIALECT, scale=scale, allowed_base_urls=[]))


def pdf(spec: Spec) -> bytes:
    """The drawing as a one-page PDF."""
    return bytes(_converter().vegalite_to_pdf(spec, vl_version=DIALECT, allowed_base_urls=[]))


def themed(drawing: str, colours: Theme) -> str:
    """An SVG whose colours are variables of the page (``--fanin-text``, …), so that one drawing serves both themes.

    Args:
        drawing: SVG drawn in these colours.
        colours: of the theme; they remain as fallbacks.
    """
    roles = {colour: role for role, colour in colours.roles().items()}

    def variable(match: re.Match[str]) -> str:
        colour = match[2].lower()
        return f'{match[1]}="var(--fanin-{roles[colour]},{colour})"' if colour in roles else match[0]

    return re.sub(r'\b(fill|stroke)="(#[0-9a-fA-F]{6})"', variable, drawing)
