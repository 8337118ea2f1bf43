"""Compare: race several starts on one task. The package can be called: ``fanin.compare(make_model, data, schemes)``.

    race = fanin.compare(make_model, "mnist", ["torch", "he", "auto"], seeds=8)    the learning rate tuned per scheme
    race.show(); race.winner()

For experiments that want the raw material, all with the same guarantees (paired seeds, bitwise repeatable, nothing
outside touched):

    race = fanin.compare.run(make_model, data, schemes, lrs=[0.01, 0.1], seeds=3, epochs=5,
                             probe=f, probe_at=[0, 100])    every scheme × rate × seed in full, nothing left out
    race.of(scheme, lr)                 the Runs, one per seed
    run.curve.steps, .losses            training loss of every update
    run.curve.test_steps, .test_accuracies, .test_losses    before training and after every epoch (``test_every=``)
    run.probes                          (updates done, f(model, updates done)): per-layer statistics of your own
    curve = fanin.compare.train(model, data, lr=0.1, epochs=5)    one model, in place, from wherever it stands

A scheme is a name, "own" (what the factory itself drew), name → options, a Recipe, or a callable that writes into the
model it is given. Seed s fixes torch's generator while the factory runs, the key of the scheme, the order of batches
and dropout.
"""

from fanin._callable import make_callable
from fanin.compare._compare import compare as compare
from fanin.compare._compare import run as run
from fanin.compare._curve import Curve as Curve
from fanin.compare._interval import Interval as Interval
from fanin.compare._interval import median_interval as median_interval
from fanin.compare._optimizers import OPTIMIZERS as OPTIMIZERS
from fanin.compare._race import Race as Race
from fanin.compare._race import Row as Row
from fanin.compare._race import Target as Target
from fanin.compare._run import Run as Run
from fanin.compare._train import train as train

__all__ = [
    "OPTIMIZERS",
    "Curve",
    "Interval",
    "Race",
    "Row",
    "Run",
    "Target",
    "compare",
    "median_interval",
    "run",
    "train",
]

make_callable(__name__, compare)
