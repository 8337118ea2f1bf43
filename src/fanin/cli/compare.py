"""Race several starts of a model on real data: which one trains best, and whether the difference is real.

Every scheme gets the same seeds, the same order of batches and the same budget to tune its learning rate (by training
loss). Medians with bootstrap intervals; runs that diverge are counted. Finished runs are kept in a file, so that an
interrupted race goes on with --resume.

  fanin compare model.py:make_model --data mnist --schemes torch,he,auto
  fanin compare mypkg.nets:mlp --data digits --schemes own,auto --seeds 8 --optimizer adam --epochs 10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fanin.cli._base import OK, count, only_json_on_stdout, remark

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from torch import nn

    from fanin.data import Dataset

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("factory", help="pkg.mod:name or file.py:name: a class or function without arguments")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="digits (comes with fanin), mnist, fashion-mnist, file.npz, or pkg.mod:factory returning a Dataset, "
        "(x, y), (x, y, x_test, y_test) or an iterable of batches (x, y)",
    )
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of mnist and fashion-mnist; default FANIN_DATA, ./data"
    )
    parser.add_argument(
        "--schemes",
        type=_names,
        default=["own", "torch", "he", "auto"],
        metavar="NAMES",
        help="separated by commas (fanin schemes lists them); own keeps what the factory draws; default "
        "own,torch,he,auto",
    )
    parser.add_argument("--seeds", type=count, default=5, metavar="N", help="seeds of each scheme; default 5")
    parser.add_argument("--optimizer", default="sgd", help="sgd, momentum, adam, adamw or rmsprop; default sgd")
    parser.add_argument(
        "--lrs",
        type=_rates,
        metavar="RATES",
        help="learning rates separated by commas; default: those of the optimizer",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=count, metavar="N", help="passes over the training part; default 5")
    length.add_argument("--steps", type=count, metavar="N", help="updates instead of epochs")
    parser.add_argument("--batch", type=count, default=64, metavar="N", help="samples per update; default 64")
    parser.add_argument("--take", type=count, metavar="N", help="only the first N training samples")
    parser.add_argument("--loss", metavar="PKG:NAME", help="loss(output, target) of your own")
    parser.add_argument("--target-accuracy", type=float, metavar="A", help="count updates to this test accuracy")
    parser.add_argument("--target-loss", type=float, metavar="L", help="count updates to this training loss")
    parser.add_argument("--jobs", type=int, metavar="N", help="worker processes; -1 for all cores; default 1")
    parser.add_argument(
        "--store", metavar="FILE", help="where runs are kept; default: a file of the user's cache folder"
    )
    parser.add_argument("--resume", action="store_true", help="take finished runs from the store")
    parser.add_argument("--json", action="store_true", help="print the race as JSON and nothing else")
    parser.add_argument("--save", metavar="FILE.json", help="also write the race to a file")


def run(arguments: argparse.Namespace) -> int:
    """Race and print."""
    import json
    from pathlib import Path

    from fanin.compare import compare
    from fanin.data import locate

    with only_json_on_stdout(arguments.json):
        make = _Factory(arguments.factory)
        data = _data(make(), arguments)
        store = _store(arguments)
        try:
            race = compare(
                make,
                data,
                arguments.schemes,
                seeds=arguments.seeds,
                optimizer=arguments.optimizer,
                lrs=arguments.lrs,
                epochs=arguments.epochs,
                steps=arguments.steps,
                batch_size=arguments.batch,
                loss=locate(arguments.loss) if arguments.loss else None,
                target_loss=arguments.target_loss,
                target_accuracy=arguments.target_accuracy,
                n_jobs=arguments.jobs,
                store=store,
                resume=arguments.resume,
            )
        except KeyboardInterrupt:
            remark(f"finished runs are kept in {store}; the same command with --resume goes on from there")
            raise
        text = json.dumps(race.to_json(), allow_nan=False)
        if arguments.save:
            Path(arguments.save).write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        print(text)
    else:
        race.show()
    return OK


class _Factory:
    """The user's factory, imported once in each process; a worker gets its name, not its code."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: Any = None

    def __call__(self) -> nn.Module:
        if self.found is None:
            from fanin.cli._model import build_model
            from fanin.data import locate
            from fanin.errors import InputError

            build_model(self.text, 0)  # finds it as every command does, and says what is wrong with it
            found = locate(self.text)
            if hasattr(found, "state_dict") and not isinstance(found, type):
                raise InputError.of("factory", self.text, "a class or function: each run needs a new model")
            self.found = found
        made: nn.Module = self.found()
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _Factory, (self.text,)


def _names(text: str) -> list[str]:
    return [name for name in (part.strip() for part in text.split(",")) if name]


def _rates(text: str) -> list[float]:
    import argparse

    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 0.01,0.1") from None


def _data(model: nn.Module, arguments: argparse.Namespace) -> Dataset:
    """The data, each sample as one row where the model takes it only so."""
    from fanin.data import load

    data = load(arguments.data, data_dir=arguments.data_dir)
    data = data if arguments.take is None else data.take(arguments.take)
    if len(data.sample_shape) > 1 and not _runs(model, data) and _runs(model, data.flat()):
        shape = "×".join(map(str, data.sample_shape))
        remark(f"each sample of {shape} is flattened: the model takes it only so")
        return data.flat()
    return data


def _runs(model: nn.Module, data: Dataset) -> bool:
    from fanin.errors import TraceError
    from fanin.trace import trace

    try:
        trace(model, data.batch(4).inputs, statistics=False)
    except TraceError:
        return False
    return True


def _store(arguments: argparse.Namespace) -> Path:
    """The file of runs: as asked, or one in the user's cache folder."""
    import os
    from pathlib import Path

    if arguments.store:
        return Path(arguments.store)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = (Path(base) if base else Path.home() / ".cache") / "fanin"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "runs.sqlite"
