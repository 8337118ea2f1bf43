"""Every registered initializer keeps the promises of the base class; nothing here names a class but the twins."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import fanin.initializers
from fanin.errors import InputError, UnknownNameError
from fanin.fans import elementwise, linear
from fanin.initializers import REGISTRY, Initializer
from fanin.keys import Key, sample


def swapped(fans):
    return replace(fans, fan_in=fans.fan_out, fan_out=fans.fan_in)


def over(condition):
    """Parametrize over the examples of all classes that meet the condition."""
    found = [
        pytest.param(*example, id=f"{name}-{index}")
        for name, cls in REGISTRY.items()
        for index, example in enumerate(cls.examples())
        if condition(*example)
    ]
    assert found
    return pytest.mark.parametrize(("initializer", "shape", "fans"), found)


def has_law(initializer, shape, fans):
    return initializer.law(fans) is not None


def has_spread(initializer, shape, fans):
    return has_law(initializer, shape, fans) and initializer.law(fans).scale > 0


def tells_fans_apart(initializer, shape, fans):
    std, other = initializer.std(fans, shape), initializer.std(swapped(fans), shape)
    return not math.isclose(std, other, rel_tol=0.1)


each_example = over(lambda *example: True)
each_class = pytest.mark.parametrize("cls", list(REGISTRY.values()), ids=list(REGISTRY))


def random(initializer, shape, fans):
    """Whether the tensor depends on the key."""
    return not np.array_equal(initializer.draw(Key(0), shape, fans), initializer.draw(Key(1), shape, fans))


def agrees(initializer, shape, fans, mean, std, support):
    """Assert that a sample has these moments, to 4 standard errors; without randomness, to rounding."""
    drawn = initializer.draw(Key(0, "moments"), shape, fans).astype(np.float64)
    low, high = support
    assert low - 1e-6 * (1 + abs(low)) <= drawn.min() <= drawn.max() <= high + 1e-6 * (1 + abs(high))
    deviations = (drawn - mean) ** 2
    if random(initializer, shape, fans):
        # Equal entries are one draw (kernels repeated on purpose, zeros of a sparse matrix).
        count = len(np.unique(drawn))
        error, square_error = std / math.sqrt(count), deviations.std() / math.sqrt(count)
    else:
        error, square_error = 0.0, 0.0
    scale = abs(mean) + std
    assert abs(drawn.mean() - mean) <= 4 * error + 1e-6 * scale
    assert abs(deviations.mean() - std**2) <= 4 * square_error + 1e-6 * scale**2


@each_example
def test_moments_are_exact(initializer, shape, fans):
    agrees(
        initializer,
        shape,
        fans,
        initializer.mean(fans, shape),
        initializer.std(fans, shape),
        initializer.support(fans, shape),
    )


@each_example
def test_moments_twin_doubled_std_is_noticed(initializer, shape, fans):
    mean, std = initializer.mean(fans, shape), initializer.std(fans, shape)
    if std == 0:
        std = 0.5 + abs(mean)  # a constant must not pass for a spread either
    with pytest.raises(AssertionError):
        agrees(initializer, shape, fans, mean, 2 * std, (-math.inf, math.inf))


@over(tells_fans_apart)
def test_moments_twin_swapped_fans_are_noticed(initializer, shape, fans):
    wrong = initializer.std(swapped(fans), shape)
    with pytest.raises(AssertionError):
        agrees(initializer, shape, fans, 0.0, wrong, (-math.inf, math.inf))


@pytest.mark.parametrize(
    "name", ["HeNormal", "HeUniform", "LecunNormal", "LecunUniform", "MuP", "RandomWalk", "SirenFirst", "SirenHidden"]
)
def test_swapped_fans_change_what_is_named_after_fan_in(name):
    assert tells_fans_apart(*next(iter(REGISTRY[name].examples())))


def standard(law):
    """The law's distribution in scipy."""
    if law.kind == "uniform":
        return stats.uniform(law.location, law.scale)
    if law.kind == "truncated_normal":
        return stats.truncnorm(-law.bound, law.bound, law.location, law.scale)
    return stats.norm(law.location, law.scale)


@over(has_spread)
def test_law_is_the_distribution_and_its_moments(initializer, shape, fans):
    reference = standard(initializer.law(fans))
    assert initializer.mean(fans) == pytest.approx(reference.mean(), abs=1e-12)
    assert initializer.std(fans) == pytest.approx(reference.std(), rel=1e-9)
    assert initializer.support(fans) == pytest.approx(reference.support(), rel=1e-12)
    drawn = initializer.draw(Key(3, "ks"), shape, fans).ravel()
    assert stats.kstest(drawn, reference.cdf).pvalue > 1e-4
    # The twin: the same test sees a spread that is 20 % too large, wherever the sample is large enough to.
    if drawn.size >= 4000:
        centre = reference.mean()
        assert stats.kstest(centre + 1.2 * (drawn - centre), reference.cdf).pvalue < 1e-3


@over(has_law)
def test_slices_of_a_law_are_the_whole(initializer, shape, fans):
    law = initializer.law(fans)
    key, size = Key(5, "slices"), math.prod(shape)
    whole = initializer.draw(key, shape, fans).ravel()
    for start, stop in ((0, 1), (size // 3, size - 1), (size - 1, size)):
        np.testing.assert_array_equal(sample(law, key, stop - start, start=start), whole[start:stop])


@each_example
def test_draw_is_a_function_of_the_key(initializer, shape, fans):
    drawn = initializer.draw(Key(0, "a"), shape, fans)
    assert drawn.dtype == np.float32
    assert drawn.shape == shape
    assert drawn.flags.c_contiguous
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(drawn, initializer.draw(Key(0, "a"), shape, fans))
    if random(initializer, shape, fans):
        assert not np.array_equal(drawn, initializer.draw(Key(0, "b"), shape, fans))


@each_example
def test_empty_tensors_are_filled_or_refused(initializer, shape, fans):
    for axis in range(len(shape)):
        empty = (*shape[:axis], 0, *shape[axis + 1 :])
        with contextlib.suppress(InputError):
            drawn = initializer.draw(Key(0), empty, fans)
            assert drawn.shape == empty
            assert drawn.dtype == np.float32


@each_example
def test_json_pickle_and_copy_give_an_equal_value(initializer, shape, fans):
    data = json.loads(json.dumps(initializer.to_json(), allow_nan=False))
    for other in (Initializer.from_json(data), pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer)):
        assert other == initializer
        assert hash(other) == hash(initializer)
        np.testing.assert_array_equal(other.draw(Key(2), shape, fans), initializer.draw(Key(2), shape, fans))
    assert data["name"] == type(initializer).__name__ == repr(initializer).partition("(")[0]


@each_example
def test_value_is_frozen(initializer, shape, fans):
    with pytest.raises(AttributeError, match="frozen"):
        initializer.gain = 2.0
    with pytest.raises(TypeError):
        initializer.config["gain"] = 2.0


def test_examples_of_different_arguments_differ():
    values = [initializer for cls in REGISTRY.values() for initializer, _, _ in cls.examples()]
    distinct = {json.dumps(value.to_json()) for value in values}
    assert len(set(values)) == len(distinct)


@each_class
def test_class_is_exported_and_documented(cls):
    name = cls.__name__
    assert getattr(fanin.initializers, name) is cls
    assert name in fanin.initializers.__all__
    assert list(cls.examples())
    assert cls.formula
    assert cls.source
    for part in ("Example:", "Source:"):
        assert part in cls.__doc__, part
    assert ("Args:" in cls.__doc__) == bool(cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount])


@each_class
def test_rank_that_makes_no_sense_is_refused(cls):
    initializer, shape, _ = next(iter(cls.examples()))
    for rank in (0, 9):
        if not cls.min_rank <= rank <= cls.max_rank:
            wrong = (1,) * rank
            with pytest.raises(InputError, match="rank"):
                initializer.draw(Key(0), wrong, elementwise(wrong))
    assert cls.min_rank <= len(shape) <= cls.max_rank


@each_class
def test_unknown_argument_is_refused(cls):
    with pytest.raises(InputError, match="no_such_argument"):
        Initializer.from_json({"name": cls.__name__, "no_such_argument": 1})


def test_every_subclass_is_registered():
    def walk(cls):
        for child in cls.__subclasses__():
            yield child
            yield from walk(child)

    concrete = {cls for cls in walk(Initializer) if cls.__module__.startswith("fanin.") and cls.__name__[0] != "_"}
    shared = {"Entrywise", "Scaled", "MatrixLaw", "Fixed"}
    assert {cls.__name__ for cls in concrete} - shared == set(REGISTRY)


def test_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match="HeNormal"):
        Initializer.from_json({"name": "HeNorml"})


def test_matrix_laws_of_a_plain_matrix_need_no_shape():
    fans = linear((40, 160))
    for name in ("Orthogonal", "SUO", "Identity", "ZerO", "IDInit", "Sparse", "NguyenWidrow"):
        initializer = REGISTRY[name]()
        assert initializer.std(fans) == initializer.std(fans, (40, 160)), name


def test_documentation_page_is_up_to_date():
    script = Path(__file__).parents[2] / "docs" / "_initializers.py"
    spec = importlib.util.spec_from_file_location("docs_initializers", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text(encoding="utf-8") == module.text(), "run: python docs/_initializers.py"
