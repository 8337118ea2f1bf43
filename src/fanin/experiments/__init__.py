"""Experiments: the classic results of the field, run again, each with a verdict."""
