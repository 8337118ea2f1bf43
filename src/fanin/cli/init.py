"""Plan, write and save the start of a model, and show what changed.

Writes a safetensors file in the form of safetensors.torch.save_model: tied weights once, buffers included. Load it with

  safetensors.torch.load_model(model, "weights.safetensors")

  fanin init model.py:make_model --data digits --out weights.safetensors
  fanin init mypkg.nets:GPT --input 128:ids=50257 --scheme auto --seed 1 --out gpt.safetensors
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.cli._base import add_model_arguments, add_scheme_arguments

if TYPE_CHECKING:
    import argparse

    from torch import nn

    from fanin.recipe import Recipe
    from fanin.report import Report, Screen

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_arguments(parser)
    parser.add_argument("--out", required=True, metavar="FILE.safetensors", help="where to write the weights")
    add_scheme_arguments(parser)
    parser.add_argument(
        "--force", action="store_true", help="overwrite FILE where it exists, and a start that already passes the check"
    )


def run(arguments: argparse.Namespace) -> None:
    """Plan, write, check, save."""
    from pathlib import Path

    import fanin
    from fanin.api import start
    from fanin.cli._batch import find_batch
    from fanin.cli._model import build_model
    from fanin.report import Screen, show_recipe

    target = Path(arguments.out)
    _writable(target, arguments.force)
    model = build_model(arguments.factory, arguments.seed)
    batch = find_batch(model, arguments)
    spread, options = _spreads(model), dict(arguments.set)

    def look() -> Report:
        return fanin.check(model, batch.inputs, batch.target, seed=arguments.seed)

    own = None if arguments.scheme == "auto" else look()  # auto looks for itself
    started = start(
        model,
        batch.inputs,
        batch.target,
        scheme=arguments.scheme,
        seed=arguments.seed,
        force=arguments.force,
        **options,
    )
    recipe, before, after = started.recipe, own or started.before or look(), started.after or look()
    _save(model, recipe, target, arguments.seed)
    screen = Screen()
    show_recipe(recipe, screen)
    screen.print()
    _changes(screen, recipe, spread, _spreads(model), before, after)
    screen.print()
    screen.print(f"Wrote {target} ({target.stat().st_size / 1e6:,.1f} MB, seed {arguments.seed}).")


def _writable(target: Any, force: bool) -> None:
    from fanin.errors import InputError

    if target.suffix != ".safetensors":
        raise InputError.of("--out", str(target), "a file name that ends in .safetensors")
    if not target.absolute().parent.is_dir():
        raise InputError.of("--out", str(target), "a file in a folder that exists")
    if target.exists() and not force:
        raise InputError(f"--out: {target} exists; pass --force to overwrite it.")


def _spreads(model: nn.Module) -> dict[str, float]:
    """Root mean square of every parameter."""
    return {
        name: float(tensor.detach().double().square().mean().sqrt())
        for name, tensor in model.named_parameters()
        if tensor.numel()
    }


def _save(model: nn.Module, recipe: Recipe, target: Any, seed: int) -> None:
    """Written beside the target and moved there, so that a crash leaves no half file."""
    import json

    from safetensors.torch import save_model

    partial = target.with_name(f".{target.name}.partial")
    recipe_text = json.dumps(recipe.to_json(), separators=(",", ":"))
    try:
        save_model(model, str(partial), metadata={"format": "pt", "fanin.seed": str(seed), "fanin.recipe": recipe_text})
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _changes(
    screen: Screen,
    recipe: Recipe,
    old: dict[str, float],
    new: dict[str, float],
    before: Report,
    after: Report,
) -> None:
    from rich.table import Table

    from fanin.report import number, verdict

    if not recipe.lines:
        screen.print(screen.text(verdict(after).plain))
        return
    screen.rule("Before and after")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("parameter", overflow="fold")
    for heading in ("rms before", "after", "planned std"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in recipe.lines:
        if line.name in new:
            cells = (number(old[line.name]), number(new[line.name]), number(line.std))
            table.add_row(screen.text(line.name), *map(screen.text, cells))
    screen.print(table)
    for word, report in (("before", before), ("after ", after)):
        screen.print()
        said = verdict(report)
        screen.print(screen.text(f"{word}  ", "dim") + screen.text(said.plain, str(said.spans[0].style)), hang=8)
        for finding in report.findings:
            where = finding.where or "the whole model"
            screen.print(f"{finding.code} {finding.category} at {where}: {finding.message}", indent=8, hang=13)
