"""Plan what each parameter should start as, and say why; nothing is written.

fanin plan model.py:make_model --data digits
fanin plan mypkg.nets:GPT --input 128:ids=50257 --scheme auto --json > recipe.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.cli._base import add_model_arguments, add_scheme_arguments, only_json_on_stdout

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_arguments(parser)
    add_scheme_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the recipe as JSON and nothing else")


def run(arguments: argparse.Namespace) -> None:
    """Plan and print."""
    import json

    import fanin
    from fanin.cli._batch import find_batch
    from fanin.cli._model import build_model
    from fanin.report import show_recipe

    with only_json_on_stdout(arguments.json):
        model = build_model(arguments.factory, arguments.seed)
        batch = find_batch(model, arguments)
        given = {"scheme": arguments.scheme, "seed": arguments.seed, **dict(arguments.set)}
        recipe = fanin.plan(model, batch.inputs, batch.target, **given)
    if arguments.json:
        print(json.dumps(recipe.to_json(), allow_nan=False))
    else:
        show_recipe(recipe)
