"""Figure: one picture with the numbers behind it, ready to be shown or saved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fanin.errors import InputError
from fanin.report.figures._base import REGISTRY, Data, Kind, Spec, Table
from fanin.report.figures._render import pdf, png, svg

if TYPE_CHECKING:
    import os

__all__ = ["Figure", "figure", "names"]

SUFFIXES = (".svg", ".png", ".pdf", ".json", ".html")


@dataclass(frozen=True)
class Figure:
    """One picture.

    Args:
        kind: which figure.
        data: the plain values it draws.

    Example:
        >>> picture = Figure.example("gradients")
        >>> picture.title
        'Gradient at the first layer of 12: 0.54 with he, 4.6e-8 with xavier / 4'
        >>> picture.spec(theme="dark")["$schema"]
        'https://vega.github.io/schema/vega-lite/v5.json'
    """

    kind: Kind
    data: Data

    @classmethod
    def example(cls, name: str) -> Figure:
        """The figure of that name with its example values.

        Raises:
            UnknownNameError: if there is no such figure.
        """
        kind = REGISTRY[name]
        return cls(kind, kind.example())

    @property
    def name(self) -> str:
        """As in ``report.figure(name)``."""
        return self.kind.name

    @property
    def title(self) -> str:
        """The finding, in one sentence."""
        return str(self.data["title"])

    def __repr__(self) -> str:
        return f"Figure({self.name}: {self.title})"

    def spec(self, theme: str = "light") -> Spec:
        """The Vega-Lite 5 specification with its values inside.

        Args:
            theme: "light" or "dark".
        """
        return self.kind.draw(self.data, theme)

    def table(self) -> Table:
        """Headings and rows: the numbers behind the picture."""
        return self.kind.table(self.data)

    def save(self, path: str | os.PathLike[str], *, theme: str = "light", scale: float = 2.0) -> None:
        """Write the figure; the suffix says in which form.

        Args:
            path: ends in .svg, .png, .pdf (these need the extra ``figures``), .json (the specification) or .html (one
                offline page: picture and table).
            theme: "light" or "dark"; a page follows its reader's screen.
            scale: pixels to a point, for PNG.

        Raises:
            InputError: for any other suffix.
            MissingExtraError: if the picture cannot be drawn here.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError.of("path", str(path), f"a file name that ends in {', '.join(SUFFIXES)}")
        content: str | bytes
        if suffix == ".html":
            from fanin.report._html import figure_page

            content = figure_page(self)
        elif suffix == ".json":
            content = json.dumps(self.spec(theme), indent=1, allow_nan=False) + "\n"
        elif suffix == ".svg":
            content = svg(self.spec(theme))
        else:
            content = png(self.spec(theme), scale=scale) if suffix == ".png" else pdf(self.spec(theme))
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        from fanin.report._notebook import figure_bundle

        return figure_bundle(self)


def figure(name: str, records: Any, **options: Any) -> Figure:
    """Compute a figure from records.

    Args:
        name: one of :func:`names`.
        records: what that figure reads; ``fanin.report.figures.REGISTRY[name].takes`` says it.
        options: arguments of the figure's ``data``.

    Returns:
        The Figure: ``title``, ``save(path)``, ``spec()``, ``table()``.

    Raises:
        UnknownNameError: if there is no such figure.
        InputError: if the records hold nothing that it can draw.
    """
    kind = REGISTRY[name]
    data = kind.data(records, **options)
    if not data["rows"]:
        raise InputError(f"figure {name!r}: the records hold nothing to draw; it reads {kind.takes}.")
    return Figure(kind, data)


def names() -> list[str]:
    """All figures.

    Example:
        >>> "gradients" in names()
        True
    """
    return REGISTRY.names()
