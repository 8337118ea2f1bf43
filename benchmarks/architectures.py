"""``fanin.check`` and ``fanin.init_`` over real architectures: seconds, coverage, findings before and after.

Hand-written networks, torch.nn and small Hugging Face configurations with their own random weights. "known" counts
the weight ops for which the walk gave an answer: an activation, or a stated end (next weight, softmax, output).
Names may be given on the command line.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import fanin
from fanin.graph import following, heads


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.down: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.down is None else self.down(x)
        return F.relu(out)


def resnet18(classes: int = 1000) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    width = 64
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for block in range(2):
            layers.append(BasicBlock(width, outputs, 2 if stage and not block else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.rnn, self.out = nn.Embedding(500, 64), nn.LSTM(64, 128, 2, batch_first=True), nn.Linear(128, 20)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(self.emb(ids))[0])


def own() -> dict[str, Any]:
    """Name → builder of (model, inputs, target)."""
    return {
        "resnet18": lambda: (resnet18(), torch.randn(4, 3, 224, 224), torch.randint(0, 1000, (4,))),
        "lstm": lambda: (Tagger(), torch.randint(0, 500, (8, 32)), torch.randint(0, 20, (8, 32))),
        "encoder": lambda: (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 256, batch_first=True), 6),
            torch.randn(8, 32, 128),
            None,
        ),
    }


TEXT = {
    "Llama Mistral Qwen2 Qwen3 Gemma Gemma2 Phi OPT GPTNeoX Bloom Olmo2 Mixtral Qwen3Moe Mamba Mamba2": "ForCausalLM",
    "Bert Roberta Electra Albert ModernBert DebertaV2": "ForMaskedLM",
    "GPT2": "LMHeadModel",
    "T5 Bart": "ForConditionalGeneration",
}
SIZES = {
    "vocab_size": 503,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PARTICULAR = {
    "Llama Mistral Qwen2 Qwen3 Gemma Gemma2 Olmo2 Mixtral": {"num_key_value_heads": 2},
    "Qwen3Moe": {"num_key_value_heads": 2, "num_experts": 8, "moe_intermediate_size": 64},
    "Mamba2": {"head_dim": 16, "num_heads": 8, "n_groups": 2},
    "Albert": {"embedding_size": 32},
    "ModernBert": {"cls_token_id": 1, "sep_token_id": 2},
    "T5": {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 3, "num_heads": 4, "decoder_start_token_id": 0},
    "Bart": {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 64},
}
IMAGE = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
PICTURES = {
    "ViT": {**IMAGE, "intermediate_size": 128},
    "DeiT": {**IMAGE, "intermediate_size": 128},
    "Dinov2": IMAGE,
    "ResNet": {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 64], "depths": [2, 2, 2, 2]},
    "ConvNext": {"hidden_sizes": [16, 32, 64, 64], "depths": [2, 2, 2, 2]},
    "Swin": {"image_size": 32, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    "MobileNetV2": {"depth_multiplier": 0.35},
}


def hugging_face() -> dict[str, Any]:
    """Name → builder, for what the installed transformers has."""
    try:
        import transformers
    except ImportError:
        print("transformers is not installed: its architectures are left out")
        return {}
    transformers.logging.set_verbosity_error()
    ids = torch.randint(5, 500, (4, 24), generator=torch.Generator().manual_seed(0))
    found: dict[str, Any] = {}

    def text(name: str, suffix: str) -> Any:
        extra = next((v for names, v in PARTICULAR.items() if name in names.split()), {})
        config = getattr(transformers, f"{name}Config")(**{**SIZES, **extra})
        return getattr(transformers, name + suffix)(config), {"input_ids": ids, "labels": ids.clone()}, None

    def picture(name: str) -> Any:
        config = getattr(transformers, f"{name}Config")(num_labels=10, **PICTURES[name])
        model = getattr(transformers, f"{name}ForImageClassification")(config)
        return model, {"pixel_values": torch.randn(8, 3, 32, 32), "labels": torch.randint(0, 10, (8,))}, None

    for names, suffix in TEXT.items():
        for name in names.split():
            found[name] = lambda name=name, suffix=suffix: text(name, suffix)
    for name in PICTURES:
        found[name] = lambda name=name: picture(name)
    return found


def row(name: str, build: Any) -> None:
    torch.manual_seed(0)
    model, inputs, target = build()
    begin = time.perf_counter()
    report = fanin.check(model, inputs, target)
    seconds = time.perf_counter() - begin
    graph = report.graph
    ends = {node.id for node in heads(graph)}
    ways = [following(graph, node) for node in graph.weight_ops()]
    answered = (way.activation or way.stops or node.id in ends for node, way in zip(graph.weight_ops(), ways))
    known = sum(map(bool, answered))
    curved = sum(way.activation is not None for way in ways)
    try:
        fanin.init_(model, inputs, target, force=True)
        after = " ".join(f.code for f in fanin.check(model, inputs, target).findings) or "clean"
    except fanin.errors.PlanError as error:
        after = "no plan: " + str(error).splitlines()[1].strip()[:60]
    size = sum(p.numel() for p in model.parameters()) / 1e6
    before = " ".join(f.code for f in report.findings) or "clean"
    share = f"{known}/{len(ways)}"
    print(f"{name:12s} {size:7.2f} {seconds:6.2f} {len(graph.nodes):6d} {share:>9s} {curved:5d}  {before:20s} {after}")


def main() -> None:
    builders = {**own(), **hugging_face()}
    chosen = [name for name in sys.argv[1:] if name in builders] or list(builders)
    head = ("model", "M par", "check", "places", "known", "curve")
    print("{:12s} {:>7s} {:>6s} {:>6s} {:>9s} {:>5s}  ".format(*head) + f"{'own start':20s} auto")
    for name in chosen:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row(name, builders[name])


if __name__ == "__main__":
    main()
