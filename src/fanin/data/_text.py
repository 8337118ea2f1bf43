"""The embedded text: Alice's Adventures in Wonderland, character by character."""

from __future__ import annotations

import gzip
from importlib import resources

import numpy as np

from fanin.data._dataset import Dataset
from fanin.errors import InputError

__all__ = ["alice", "alice_text"]

TRAIN_SHARE = 0.9
"""The last tenth, the trial of the Knave of Hearts, is held out: a text is no bag of windows to be shuffled."""


def alice_text() -> str:
    """The whole text: 143,219 characters, 70 different ones, paragraphs apart by an empty line.

    Example:
        >>> alice_text()[:32]
        "ALICE'S ADVENTURES IN WONDERLAND"

    Source: Lewis Carroll, 1865 (public domain).
    """
    packed = resources.files("fanin.data").joinpath("alice", "alice.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def alice(context: int = 64) -> Dataset:
    """Next-character prediction: windows of ``context`` characters and, as targets, each one's successor.

    Windows do not overlap; a character is its place among the 70 that occur, in the order of their codes. The first
    nine tenths of the text are the training part.

    Args:
        context: characters per window.

    Returns:
        A Dataset of int64 arrays (windows, context), inputs and targets alike.

    Raises:
        InputError: if the held-out part does not hold one window.

    Example:
        >>> alice(32)
        Dataset('alice', 4,028 + 447 samples of (32,), 70 classes)

    Source: Lewis Carroll, 1865 (public domain).
    """
    text = alice_text()
    border = int(TRAIN_SHARE * len(text))
    longest = len(text) - border - 1
    if isinstance(context, bool) or not isinstance(context, int) or not 1 <= context <= longest:
        raise InputError.of("context", context, f"an integer in [1, {longest:,}]", "data set 'alice'")
    codes = np.frombuffer(text.encode("ascii"), np.uint8)
    letters = np.unique(codes)
    ids = np.searchsorted(letters, codes).astype(np.int64)
    train_x, train_y = _windows(ids[:border], context)
    test_x, test_y = _windows(ids[border:], context)
    source = "Alice's Adventures in Wonderland (Carroll, 1865)"
    return Dataset("alice", train_x, train_y, test_x, test_y, len(letters), source=source)


def _windows(ids: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, targets), each (windows, context); what is left over at the end is dropped."""
    count = (len(ids) - 1) // context
    return ids[: count * context].reshape(count, context), ids[1 : count * context + 1].reshape(count, context)
