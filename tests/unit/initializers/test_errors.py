"""Every argument is checked where it is given; the text names the class, the argument and the value."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from fanin import fans
from fanin import initializers as init
from fanin.errors import InputError
from fanin.keys import Key

BAD = [
    (lambda: init.Normal(stddev=-1.0), "Normal", "stddev", "-1.0"),
    (lambda: init.Normal(std=-1.0), "Normal", "std", "-1.0"),
    (lambda: init.Normal(math.nan), "Normal", "mean", "nan"),
    (lambda: init.Normal("0"), "Normal", "mean", "'0'"),
    (lambda: init.Normal(True), "Normal", "mean", "True"),
    (lambda: init.Normal(stddev=1.0, std=1.0), "Normal", "stddev", "std"),
    (lambda: init.Uniform(1.0, 0.0), "Uniform", "maxval", "0.0"),
    (lambda: init.Uniform(0.0, 1.0, std=1.0), "Uniform", "minval", "stddev"),
    (lambda: init.Uniform(maxval=math.inf), "Uniform", "maxval", "inf"),
    (lambda: init.TruncatedNormal(bound=0.0), "TruncatedNormal", "bound", "> 0"),
    (lambda: init.Constant(math.inf), "Constant", "value", "inf"),
    (lambda: init.VarianceScaling(-1.0), "VarianceScaling", "scale", "-1.0"),
    (lambda: init.VarianceScaling(mode="fan_middle"), "VarianceScaling", "mode", "fan_geo_avg"),
    (lambda: init.VarianceScaling(distribution="cauchy"), "VarianceScaling", "distribution", "untruncated_normal"),
    (lambda: init.GlorotNormal(-1.0), "GlorotNormal", "gain", "-1.0"),
    (lambda: init.HeNormal(mode="fan_avg"), "HeNormal", "mode", "fan_out"),
    (lambda: init.HeUniform(math.nan), "HeUniform", "negative_slope", "nan"),
    (lambda: init.Orthogonal(-1.0), "Orthogonal", "gain", "-1.0"),
    (lambda: init.DeltaOrthogonal(scaled=1), "DeltaOrthogonal", "scaled", "1"),
    (lambda: init.Sparse(1.5), "Sparse", "nonzeros", "1.5"),
    (lambda: init.TorchSparse(1.1), "TorchSparse", "sparsity", "<= 1"),
    (lambda: init.RandomWalk("gelu"), "RandomWalk", "activation", "relu, linear"),
    (lambda: init.SirenHidden(0.0), "SirenHidden", "omega", "> 0"),
    (lambda: init.ForgetBias(order="iigo"), "ForgetBias", "order", "iigo"),
    (lambda: init.ForgetBias(order="rzn"), "ForgetBias", "order", "'f'"),
    (lambda: init.ChronoBias(2.0), "ChronoBias", "max_time", "> 2"),
    (lambda: init.ChronoBias(9.0, "rnn"), "ChronoBias", "cell", "lstm, gru"),
    (lambda: init.MambaStepBias(0.0), "MambaStepBias", "minimum", "> 0"),
    (lambda: init.Mamba2ALog(4.0, 2.0), "Mamba2ALog", "high", "2.0"),
    (lambda: init.PriorBias(1.0), "PriorBias", "probability", "1.0"),
    (lambda: init.PriorBias(0.0), "PriorBias", "probability", "> 0"),
    (lambda: init.ClassPrior(()), "ClassPrior", "probabilities", "at least one"),
    (lambda: init.RBMVisibleBias(0.5), "RBMVisibleBias", "probabilities", "one per entry"),
    (lambda: init.MuP("middle"), "MuP", "role", "hidden"),
    (lambda: init.NguyenWidrowBias(0, 3), "NguyenWidrowBias", "hidden", ">= 1"),
    (lambda: init.ICNR("he"), "ICNR", "initializer", "an Initializer"),
    (lambda: init.LoRAA("truncated_normal"), "LoRAA", "distribution", "gaussian"),
]


@pytest.mark.parametrize(("make", "owner", "argument", "mention"), BAD)
def test_bad_arguments(make, owner, argument, mention):
    with pytest.raises(InputError) as caught:
        make()
    for word in (owner, argument, mention):
        assert word in str(caught.value)


MISPLACED = [
    (init.Orthogonal(), (5,), fans.elementwise((5,)), "rank >= 2"),
    (init.Orthogonal(), (5, 5, 5), fans.linear((5, 5)), "axes are those of"),
    (init.Orthogonal(), (5, 4, 3), fans.Fans(4, 5, window_axes=(2,), groups=2), "2 groups"),
    (init.DeltaOrthogonal(), (4, 8, 3), fans.conv((4, 8, 3)), "scaled=True"),
    (init.DeltaOrthogonal(), (4, 2, 3), fans.experts((4, 2, 3), out_axis=1, in_axis=2), "window axes"),
    (init.Dirac(), (4, 2, 3), fans.experts((4, 2, 3), out_axis=1, in_axis=2), "use Identity"),
    (init.Identity(), (4, 2, 3), fans.conv((4, 2, 3)), "use Dirac"),
    (init.IRNN(), (4, 3), fans.linear((4, 3)), "square"),
    (init.HiPPO(), (4, 3), fans.linear((4, 3)), "equal length"),
    (init.TorchSparse(), (4, 3, 3), fans.conv((4, 3, 3)), "rank >= 2 and <= 2"),
    (init.ForgetBias(), (6,), fans.elementwise((6,)), "4 gates"),
    (init.ChronoBias(9.0, "gru"), (8,), fans.elementwise((8,)), "3 gates"),
    (init.ClassPrior((0.5, 0.5)), (3,), fans.elementwise((3,)), "last axis of 2"),
    (init.SinusoidalPositions(), (4, 3), fans.elementwise((4, 3)), "even width"),
    (init.ICNR(init.HeNormal()), (6, 3, 3, 3), fans.conv((6, 3, 3, 3)), "multiple of 4"),
]


@pytest.mark.parametrize(("initializer", "shape", "place", "mention"), MISPLACED)
def test_tensors_that_cannot_be_filled(initializer, shape, place, mention):
    for attempt in (initializer.validate, lambda s, f: initializer.draw(Key(0), s, f)):
        with pytest.raises(InputError, match="expected") as caught:
            attempt(shape, place)
        assert mention in str(caught.value)
        assert type(initializer).__name__ in str(caught.value)


@pytest.mark.parametrize("initializer", [init.HeNormal(), init.GlorotUniform(), init.LecunNormal(), init.SirenFirst()])
def test_a_fan_of_zero_is_named(initializer):
    with pytest.raises(InputError, match="fan"):
        initializer.draw(Key(0), (0, 0), fans.linear((0, 0)))


@pytest.mark.parametrize("initializer", [init.Orthogonal(), init.Dirac(), init.IDInit(), init.Sparse()])
def test_moments_that_need_the_shape_say_so(initializer):
    place = fans.conv((8, 4, 3))
    with pytest.raises(InputError, match="pass shape="):
        initializer.std(place)
    assert initializer.std(place, (8, 4, 3)) > 0


def test_aliases_are_the_same_value():
    assert init.VarianceScaling(mode="average", distribution="untruncated_normal") == init.VarianceScaling(
        mode="fan_avg", distribution="normal"
    )
    assert init.VarianceScaling(mode="geometric") == init.VarianceScaling(mode="fan_geo_avg")
    assert init.Normal(std=np.float32(0.5)) == init.Normal(stddev=0.5)


def test_values_of_other_classes_or_arguments_differ():
    assert init.GlorotNormal() != init.LecunNormal()
    assert init.Normal(std=1.0) != init.Normal(std=2.0)
    assert init.Zeros() != "Zeros()"


def test_importing_initializers_does_not_import_torch():
    code = "import sys, fanin.initializers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
