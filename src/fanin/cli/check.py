"""Check how a model starts: what is wrong, where, and what to do.

Runs one batch forward and backward, measures every place in the network and applies the rules. The model is left as it
was. Without --input and --data the first layer suggests random inputs, and what was assumed is said.

  fanin check model.py:make_model --data digits
  fanin check torchvision.models:resnet18 --input 3x224x224
  fanin check mypkg.nets:GPT --input 128:ids=50257 --json > report.json
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.cli._base import FINDINGS, OK, add_model_arguments, codes, only_json_on_stdout, threshold

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_model_arguments(parser)
    parser.add_argument("--loss", metavar="PKG:NAME", help="loss(output, target) of your own")
    parser.add_argument("--select", type=codes, metavar="CODES", help="only these rules or prefixes: F,W301")
    parser.add_argument("--ignore", type=codes, metavar="CODES", help="leave these out")
    parser.add_argument(
        "--threshold",
        action="append",
        type=threshold,
        default=[],
        metavar="CODE.NAME=VALUE",
        help="another threshold of a rule (fanin explain CODE lists them); repeatable",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON and nothing else")
    parser.add_argument("--save", metavar="FILE.json", help="also write the report to a file")
    parser.add_argument("--all", action="store_true", help="show every place, also those without weights")


def run(arguments: argparse.Namespace) -> int:
    """Check and print; 1 where a finding is an error."""
    import json

    import fanin
    from fanin.cli._batch import find_batch
    from fanin.cli._model import build_model
    from fanin.data import locate

    with only_json_on_stdout(arguments.json):
        model = build_model(arguments.factory, arguments.seed)
        batch = find_batch(model, arguments)
        loss = locate(arguments.loss) if arguments.loss else None
        report = fanin.check(
            model,
            batch.inputs,
            batch.target,
            loss,
            select=arguments.select,
            ignore=arguments.ignore,
            thresholds=dict(arguments.threshold),
            seed=arguments.seed,
        )
        if arguments.save:
            report.save(arguments.save)
    if arguments.json:
        print(json.dumps(report.to_json(), allow_nan=False))
    else:
        report.show(all=arguments.all)
    return OK if report.ok else FINDINGS
