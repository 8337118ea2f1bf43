"""A report as TensorBoard events: statistics as scalars, histograms as they were counted, findings as text."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from fanin._optional import require
from fanin.errors import InputError
from fanin.report._terminal import verdict

if TYPE_CHECKING:
    from fanin.report._report import Report
    from fanin.signals import Histogram

__all__ = ["write_events"]


def write_events(report: Report, writer: Any, step: int = 0) -> None:
    """Write everything under the tag ``fanin/``.

    Args:
        report: the record.
        writer: a ``SummaryWriter``, or the folder for a new one, which is closed afterwards.
        step: the training step.

    Raises:
        InputError: if the writer is neither.
        MissingExtraError: if a folder is given and tensorboard is not installed.
    """
    if isinstance(writer, (str, os.PathLike)):
        purpose = "writing TensorBoard events"
        require("tensorboard", extra="tensorboard", purpose=purpose)
        module = require("torch.utils.tensorboard", extra="tensorboard", purpose=purpose)
        with module.SummaryWriter(os.fspath(writer)) as opened:
            _write(report, opened, step)
        return
    if not all(hasattr(writer, name) for name in ("add_scalar", "add_text", "add_histogram_raw")):
        raise InputError.of("writer", type(writer).__name__, "a SummaryWriter or the path of a folder")
    _write(report, writer, step)


def _write(report: Report, writer: Any, step: int) -> None:
    lines = [f"**{verdict(report).plain}**", ""]
    for finding in report.findings:
        places = ", ".join(f"`{name}`" for name in (finding.where or "the whole model", *finding.also[:5]))
        lines += [f"- **{finding.code} {finding.category}** at {places}: {finding.message}", f"  - fix: {finding.fix}"]
    writer.add_text("fanin/verdict", "\n".join(lines), step)
    writer.add_scalar("fanin/errors", report.count("error"), step)
    if report.loss is not None and math.isfinite(report.loss):
        writer.add_scalar("fanin/loss", report.loss, step)
    for signal in report.signals:
        if signal.source != "measured":
            continue
        kind = "activation" if signal.direction == "forward" else "gradient"
        tag = f"fanin/{kind}/{signal.place}"
        if math.isfinite(signal.second_moment):
            writer.add_scalar(f"{tag}/rms", signal.rms, step)
        if signal.histogram is not None:
            _histogram(writer, tag, signal.histogram, signal.mean, signal.second_moment, step)
    for weights in report.weights:
        if weights.histogram is not None:
            square = weights.mean**2 + weights.std**2
            _histogram(writer, f"fanin/weight/{weights.name}", weights.histogram, weights.mean, square, step)


def _histogram(writer: Any, tag: str, histogram: Histogram, mean: float, square: float, step: int) -> None:
    """The bins as counted; nothing is binned a second time."""
    count = sum(histogram.counts)
    bins = len(histogram.counts)
    width = (histogram.high - histogram.low) / bins
    # A constant has bins of no width; TensorBoard wants limits that increase.
    width = width or max(abs(histogram.low) * 1e-6, 1e-12)
    writer.add_histogram_raw(
        tag,
        min=histogram.low,
        max=histogram.high,
        num=count,
        sum=count * mean,
        sum_squares=count * square,
        bucket_limits=[histogram.low + (k + 1) * width for k in range(bins)],
        bucket_counts=list(histogram.counts),
        global_step=step,
    )
