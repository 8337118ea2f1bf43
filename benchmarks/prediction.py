"""How well theory predicts what a trace measures, over whole models: log2(predicted / measured second moment).

    python benchmarks/prediction.py [--seeds 2] [--verbose]

Weights are drawn once per seed; theory sees only their law (mean and second moment of each tensor) and the input batch.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from fanin import slots
from fanin.errors import InputError
from fanin.theory import ACTIVATIONS, array_moments, chi_par, critical, moments, predict_graph
from fanin.theory.activations import Activation, find
from fanin.trace import Trace, trace

Model = tuple[nn.Module, torch.Tensor]


class Lambda(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x)


def activation_module(name: str) -> nn.Module:
    known = find(name)
    for alias in type(known).aliases:
        if hasattr(nn, alias) and alias not in ("Threshold",):
            return getattr(nn, alias)()
    plain = {
        "linear": lambda x: x,
        "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
        "erf": torch.erf,
        "sin": torch.sin,
        "sine": lambda x: torch.sin(30.0 * x),
        "relu_squared": lambda x: torch.relu(x).square(),
        "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
        "threshold": lambda x: nn.functional.threshold(x, 0.0, 0.0),
    }
    return Lambda(plain[name])


def scales(name: str) -> tuple[float, float, float]:
    """(σ_w², σ_b², q) at which a norm-free chain holds its length: critical, or contracting where nothing better is.

    At an unstable point (χ∥ > 1) one network's deviation grows without bound: no average over networks predicts it.
    """
    try:
        point = critical(name)
        if point.stability != "unstable":
            return point.weight_var, point.bias_var, point.q
    except InputError:
        pass
    weight_var = 0.5 / max(chi_par(name, 1.0, 1.0), 1e-3)
    return weight_var, max(0.0, 1 - weight_var * moments(name).second_moment), 1.0


def mlp(name: str, depth: int = 30, width: int = 512) -> Model:
    """Thirty layers at the critical point of the activation."""
    layers: list[nn.Module] = []
    weight_var, bias_var, q = scales(name)
    for i in range(depth):
        linear = nn.Linear(width, width)
        nn.init.normal_(linear.weight, 0, math.sqrt((q - bias_var if i == 0 else weight_var) / width))
        nn.init.normal_(linear.bias, 0, math.sqrt(bias_var))
        layers += [linear, activation_module(name)]
    return nn.Sequential(*layers, nn.Linear(width, 10)), torch.randn(64, width)


def vgg() -> Model:
    layers: list[nn.Module] = []
    channels = 3
    for out, pool in ((32, 0), (32, 1), (64, 0), (64, 1), (128, 0), (128, 1)):
        conv = nn.Conv2d(channels, out, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        layers += [conv, nn.ReLU()] + ([nn.MaxPool2d(2)] if pool else [])
        channels = out
    head = [nn.Flatten(), nn.Linear(128 * 16, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10)]
    return nn.Sequential(*layers, *head), torch.randn(16, 3, 32, 32)


class Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.na = nn.BatchNorm2d(out)
        self.b = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.nb = nn.BatchNorm2d(out)
        self.skip = nn.Identity()
        if stride != 1 or channels != out:
            self.skip = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.na(self.a(x)))
        return torch.relu(self.nb(self.b(h)) + self.skip(x))


def resnet() -> Model:
    sizes = [(32, 32, 1), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        *(Block(*size) for size in sizes),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    return model, torch.randn(16, 3, 32, 32)


def transformer(norm_first: bool) -> Model:
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.1, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
    for parameter in encoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return nn.Sequential(nn.Embedding(1000, 128), encoder, nn.Linear(128, 100)), torch.randint(0, 1000, (16, 32))


class LlamaBlock(nn.Module):
    def __init__(self, width: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, 4 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        h = self.norm1(x)
        q, k, v = (f(h).view(b, n, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(a.transpose(1, 2).reshape(b, n, d))
        h = self.norm2(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, manual: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 128)
        self.blocks = nn.ModuleList([LlamaBlock() for _ in range(6)])
        self.norm, self.head = nn.RMSNorm(128), nn.Linear(128, 1000, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


class GPT(nn.Module):
    """Explicit attention with a causal mask, learned positions."""

    def __init__(self, width: int = 128, heads: int = 4, layers: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.token, self.position = nn.Embedding(500, width), nn.Parameter(0.02 * torch.randn(1, 32, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2 * layers + 1)])
        self.qkv = nn.ModuleList([nn.Linear(width, 3 * width) for _ in range(layers)])
        self.out = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])
        self.fc = nn.ModuleList([nn.Linear(width, 4 * width) for _ in range(layers)])
        self.proj = nn.ModuleList([nn.Linear(4 * width, width) for _ in range(layers)])
        self.head = nn.Linear(width, 500)
        self.register_buffer("mask", torch.tril(torch.ones(32, 32, dtype=torch.bool)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.token(x) + self.position
        b, n, d = h.shape
        for i, (qkv, out, fc, proj) in enumerate(zip(self.qkv, self.out, self.fc, self.proj)):
            q, k, v = (
                part.view(b, n, self.heads, -1).transpose(1, 2) for part in qkv(self.norms[2 * i](h)).chunk(3, -1)
            )
            logits = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
            p = logits.masked_fill(~self.mask, -math.inf).softmax(-1)
            h = h + out((p @ v).transpose(1, 2).reshape(b, n, d))
            h = h + proj(nn.functional.gelu(fc(self.norms[2 * i + 1](h))))
        return self.head(self.norms[-1](h))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 64)
        self.rnn = kind(64, 128, 2, batch_first=True)
        self.head = nn.Linear(128, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0][:, -1])


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.d1, self.d2, self.mid = self.pair(3, 32), self.pair(32, 64), self.pair(64, 128)
        self.up2, self.up1 = nn.ConvTranspose2d(128, 64, 2, 2), nn.ConvTranspose2d(64, 32, 2, 2)
        self.u2, self.u1 = self.pair(128, 64), self.pair(64, 32)
        self.out = nn.Conv2d(32, 2, 1)

    @staticmethod
    def pair(a: int, b: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1), nn.SiLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.d1(x)
        b = self.d2(nn.functional.max_pool2d(a, 2))
        c = self.mid(nn.functional.avg_pool2d(b, 2))
        c = self.u2(torch.cat([self.up2(c), b], 1))
        return self.out(self.u1(torch.cat([self.up1(c), a], 1)))


class SE(nn.Module):
    """Inverted residual blocks with squeeze and excitation, as MobileNetV3."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.blocks = nn.ModuleList()
        for _ in range(3):
            self.blocks.append(
                nn.ModuleDict(
                    {
                        "expand": nn.Conv2d(32, 96, 1),
                        "n1": nn.BatchNorm2d(96),
                        "depth": nn.Conv2d(96, 96, 3, padding=1, groups=96),
                        "n2": nn.BatchNorm2d(96),
                        "s1": nn.Conv2d(96, 24, 1),
                        "s2": nn.Conv2d(24, 96, 1),
                        "project": nn.Conv2d(96, 32, 1),
                        "n3": nn.BatchNorm2d(32),
                    }
                )
            )
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.stem(x)
        for b in self.blocks:
            y = nn.functional.hardswish(b["n1"](b["expand"](h)))
            y = nn.functional.hardswish(b["n2"](b["depth"](y)))
            s = nn.functional.hardsigmoid(b["s2"](torch.relu(b["s1"](y.mean((2, 3), keepdim=True)))))
            h = h + b["n3"](b["project"](y * s))
        return self.head(h.mean((2, 3)))


MODELS: dict[str, Callable[[], Model]] = {
    **{
        f"mlp-30 {name}": (lambda name=name: mlp(name))  # type: ignore[misc]
        for name in ACTIVATIONS
        if issubclass(ACTIVATIONS[name], Activation)
    },
    "vgg": vgg,
    "resnet": resnet,
    "transformer pre-LN": lambda: transformer(True),
    "transformer post-LN": lambda: transformer(False),
    "llama block": lambda: (Llama(), torch.randint(0, 1000, (8, 32))),
    "gpt, explicit attention": lambda: (GPT(), torch.randint(0, 500, (8, 32))),
    "lstm": lambda: (Recurrent(nn.LSTM), torch.randint(0, 200, (32, 20))),
    "gru": lambda: (Recurrent(nn.GRU), torch.randint(0, 200, (32, 20))),
    "rnn": lambda: (Recurrent(nn.RNN), torch.randint(0, 200, (32, 20))),
    "u-net": lambda: (UNet(), torch.randn(8, 3, 32, 32)),
    "mobilenet with SE": lambda: (SE(), torch.randn(16, 3, 32, 32)),
}


def errors(model: nn.Module, x: torch.Tensor) -> tuple[Trace, dict[str, dict[str, float]], float]:
    """The trace, log2(predicted / measured) at weight ops by direction, and the seconds theory took."""
    measured = trace(model, x)
    places = {node.place: x.numpy() for node in measured.graph.nodes if node.attrs.get("source") == "argument"}
    found = slots.find(model, measured.graph)
    weights = array_moments({name: p.detach().numpy() for name, p in model.named_parameters()}, found)
    started = time.perf_counter()
    predicted = predict_graph(measured.graph, found, weights, places)
    seconds = time.perf_counter() - started
    result: dict[str, dict[str, float]] = {"forward": {}, "backward": {}}
    for node in measured.graph.weight_ops():
        for direction in ("forward", "backward"):
            a = predicted.at(node.place, direction, "predicted")  # type: ignore[arg-type]
            b = measured.signals.at(node.place, direction, "measured")  # type: ignore[arg-type]
            if a is not None and b is not None and b.second_moment > 0:
                result[direction][node.place] = math.log2(max(a.second_moment, 1e-300) / b.second_moment)
    return measured, result, seconds


def summary(values: Iterator[float] | list[float]) -> tuple[float, float]:
    """(median |log2|, share within a factor of two)."""
    size = np.abs(np.array(list(values)))
    return (float(np.median(size)), float((size <= 1).mean())) if len(size) else (math.nan, math.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    print(
        f"{'model':26} {'ops':>4}  {'forward median':>14} {'within 2x':>9}  "
        f"{'backward median':>15} {'within 2x':>9}   s"
    )
    everything: dict[str, list[float]] = {"forward": [], "backward": []}
    for name, build in MODELS.items():
        if options.only not in name:
            continue
        collected: dict[str, list[float]] = {"forward": [], "backward": []}
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            _, result, seconds = errors(*build())
            for direction, values in result.items():
                collected[direction] += values.values()
            if options.verbose:
                for place, value in result["forward"].items():
                    print(f"    {place:40} {value:+.2f} {result['backward'].get(place, math.nan):+.2f}")
        for direction, values in collected.items():
            everything[direction] += values
        (a, b), (c, d) = summary(collected["forward"]), summary(collected["backward"])
        ops = len(collected["forward"])
        print(f"{name:26} {ops:4}  {a:14.3f} {b:9.0%}  {c:15.3f} {d:9.0%}   {seconds:.2f}")
    (a, b), (c, d) = summary(everything["forward"]), summary(everything["backward"])
    print(f"{'all':26} {len(everything['forward']):4}  {a:14.3f} {b:9.0%}  {c:15.3f} {d:9.0%}")


if __name__ == "__main__":
    main()
