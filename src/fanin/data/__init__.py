"""Data to check, train and compare on: one embedded set, local copies of the classics, and the user's own."""

from fanin.data._dataset import Batch as Batch
from fanin.data._dataset import Dataset as Dataset
from fanin.data._factory import locate as locate
from fanin.data._load import NAMES as NAMES
from fanin.data._load import batch as batch
from fanin.data._load import load as load
from fanin.data._samples import Samples as Samples
from fanin.data._text import alice as alice

__all__ = ["NAMES", "Batch", "Dataset", "Samples", "alice", "batch", "load", "locate"]
