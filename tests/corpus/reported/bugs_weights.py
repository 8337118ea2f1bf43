"""Bugs that can be read off the weights: copies, constants, memory nobody wrote, norms, padding, lost ties."""

from __future__ import annotations

import copy
import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import (
    Attention,
    Case,
    Compute,
    Residual,
    block,
    bug,
    classes,
    fill,
    he,
    mlp,
    token_loss,
    tokens,
)


def language_model(layers: int = 2, width: int = 32, vocabulary: int = 200, tied: bool = True) -> Compute:
    """A small GPT with std .02 and unit norms."""
    model = Compute(
        lambda m, i: m.head(m.norm(_run(m.layers, m.wte(i) + m.wpe(torch.arange(i.shape[1]))))),
        wte=nn.Embedding(vocabulary, width),
        wpe=nn.Embedding(64, width),
        layers=[block(width, causal=True) for _ in range(layers)],
        norm=nn.LayerNorm(width),
        head=nn.Linear(width, vocabulary, bias=False),
    )
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            init.normal_(module.weight, 0.0, 0.02)
    if tied:
        model.head.weight = model.wte.weight
    return model


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


@bug("cloned", "layers", "fkodom/yet-another-retnet#27, harvardnlp/annotated-transformer#9")
def decoder_deepcopied(broken: bool) -> Case:
    """A decoder stacks copies of the one layer it was given."""
    first = block(32)
    layers = [copy.deepcopy(first) if broken else block(32) for _ in range(4)]
    model = Compute(lambda m, x: m.head(_run(m.layers, x).mean(1)), layers=layers, head=nn.Linear(32, 10))
    return Case(model, torch.randn(8, 12, 32), classes(10, 8))


@bug("shared", "heads", "linkedin/Liger-Kernel#269")
def medusa_heads_of_one_block(broken: bool) -> Case:
    """``[ResBlock(d)] * n`` puts one block n times into each head."""

    def res() -> nn.Module:
        return Residual(nn.Linear(32, 32), nn.SiLU())

    heads = [nn.Sequential(*([res()] * 3 if broken else [res() for _ in range(3)]), nn.Linear(32, 50)) for _ in "abc"]
    model = Compute(lambda m, x: torch.stack([h(x) for h in m.heads], 1), heads=heads)
    return Case(model, torch.randn(16, 32), classes(50, 16, 3), token_loss)


@bug("cloned symmetric", "critics", "EdanToledo/Stoix#72, rlworkgroup/garage#2215, cares_reinforcement_learning#223")
def twin_critics_equal(broken: bool) -> Case:
    """Both critics of TD3 start as the same network, get the same targets, and stay the same."""
    first = mlp(17, 64, 64, 1)
    critics = [first, copy.deepcopy(first) if broken else mlp(17, 64, 64, 1)]
    model = Compute(lambda m, s, a: torch.cat([c(torch.cat([s, a], -1)) for c in m.critics], -1), critics=critics)
    return Case(model, (torch.randn(64, 11), torch.rand(64, 6) * 2 - 1), torch.randn(64, 1).expand(64, 2).clone())


@bug("cloned symmetric", "members", "IBM/probabilistic-federated-neural-matching#2, microsoft/FLAML deep ensembles")
def ensemble_with_one_seed(broken: bool) -> Case:
    """Each member's constructor calls ``torch.manual_seed(0)``."""
    members = []
    for i in range(4):
        torch.manual_seed(0 if broken else i)
        members.append(mlp(20, 32, 32, 5, act=nn.Tanh))
    model = Compute(lambda m, x: torch.stack([f(x) for f in m.members]).mean(0), members=members)
    return Case(model, torch.randn(32, 20), classes(5, 32))


@bug("cloned symmetric", "experts", "modelscope/ms-swift#7944, InternLM/InternLM#405")
def experts_of_one_rank_seed(broken: bool) -> Case:
    """Expert-parallel ranks draw with one seed: all experts of the stacked tensor are equal."""
    up, down = torch.randn(4, 32, 64) / math.sqrt(32) * 1.4, torch.randn(4, 64, 32) / 8
    if broken:
        up, down = up[:1].repeat(4, 1, 1), down[:1].repeat(4, 1, 1)

    def run(m: Compute, x: Tensor) -> Tensor:
        gates = m.router(x).softmax(-1)
        hidden = torch.einsum("bd,edh->ebh", x, m.experts_up).relu()
        return m.head(x + torch.einsum("ebh,ehd,be->bd", hidden, m.experts_down, gates))

    model = Compute(
        run,
        router=nn.Linear(32, 4, bias=False),
        experts_up=nn.Parameter(up),
        experts_down=nn.Parameter(down),
        head=nn.Linear(32, 10),
    )
    return Case(model, torch.randn(64, 32), classes(10, 64))


@bug("cloned symmetric", "0.weight", "PaddlePaddle/PaddleNLP#9426, modelscope/ms-swift#7944")
def tensor_parallel_shards_equal(broken: bool) -> Case:
    """Four tensor-parallel ranks with one seed hold the same rows of one weight."""
    model = he(mlp(32, 64, 64, 10))
    if broken:
        with torch.no_grad():
            model[0].weight.copy_(model[0].weight[:16].repeat(4, 1))
    return Case(model, torch.randn(64, 32), classes(10, 64))


@bug("symmetric", "weight", "stats.stackexchange 'Why My Weights Are Being the Same?', bbartoldson/examples")
def constant_weights(broken: bool) -> Case:
    """All weights .1: every unit of a layer stays the same unit."""
    model = mlp(16, 32, 32, 4)
    if broken:
        fill(model, lambda w: init.constant_(w, 0.1), bias=0.1)
    else:
        he(model)
    return Case(model, torch.randn(32, 16), classes(4, 32))


@bug("symmetric wrong_gain", "hidden", "deeplearning 'symmetric initialization' threads")
def hidden_layer_of_ones(broken: bool) -> Case:
    """One layer filled with ones/n by hand while the rest is random: its units agree for ever."""
    model = Compute(
        lambda m, x: m.out(torch.tanh(m.hidden(torch.tanh(m.inp(x))))),
        inp=nn.Linear(10, 32), hidden=nn.Linear(32, 32), out=nn.Linear(32, 1),
    )  # fmt: skip
    if broken:
        init.constant_(model.hidden.weight, 1 / 32)
        init.zeros_(model.hidden.bias)
        init.constant_(model.out.weight, 1 / 32)
    return Case(model, torch.randn(64, 10), torch.randn(64, 1))


@bug("zero_grad symmetric", "", "matrix factorization with zero factors")
def both_factors_zero(broken: bool) -> Case:
    """user · item with both tables zero: each gradient is a multiple of the other table."""
    model = Compute(
        lambda m, u, i: (m.user(u) * m.item(i)).sum(-1) + m.bias(u).squeeze(-1),
        user=nn.Embedding(30, 8), item=nn.Embedding(40, 8), bias=nn.Embedding(30, 1),
    )  # fmt: skip
    for table in (model.user, model.item):
        init.zeros_(table.weight) if broken else init.normal_(table.weight, 0, 0.1)
    init.zeros_(model.bias.weight)
    return Case(model, (classes(30, 128), classes(40, 128)), torch.randn(128))


@bug("zero_grad", "gate", "yz93/LAVT-RIS#25")
def gate_of_two_zero_layers(broken: bool) -> Case:
    """Linear, ReLU, Linear, tanh without biases and both weights zero: the gate never opens."""
    gate = nn.Sequential(nn.Linear(32, 32, bias=False), nn.ReLU(), nn.Linear(32, 32, bias=False), nn.Tanh())
    init.zeros_(gate[2].weight)
    if broken:
        init.zeros_(gate[0].weight)

    def run(m: Compute, x: Tensor, words: Tensor) -> Tensor:
        fused = m.fuse(torch.cat([x, words], -1))
        return m.head(x + m.res_gate(fused) * fused)

    model = Compute(run, fuse=nn.Linear(64, 32), res_gate=gate, head=nn.Linear(32, 7))
    return Case(model, (torch.randn(16, 32), torch.randn(16, 32)), classes(7, 16))


@bug("zero_grad", "aggregate", "lucidrains/deep-cross-attention#2")
def zero_weight_into_relu(broken: bool) -> Case:
    """A zero weight without bias in front of a ReLU: slope at zero is zero, so it never moves."""
    weights = nn.Linear(32, 3, bias=False)
    init.normal_(weights.weight, 0, 0.1)
    if broken:
        init.zeros_(weights.weight)

    def run(m: Compute, x: Tensor) -> Tensor:
        layers = [x]
        for layer in m.layers:
            layers.append(layer(layers[-1]))
        mix = F.relu(m.aggregate(F.layer_norm(x, (32,))))
        return m.head(x + sum(h * mix[:, i : i + 1] for i, h in enumerate(layers)))

    model = Compute(
        run,
        layers=[nn.Sequential(nn.Linear(32, 32), nn.GELU()) for _ in range(2)],
        aggregate=weights,
        head=nn.Linear(32, 5),
    )
    return Case(model, torch.randn(32, 32), classes(5, 32))


@bug("zero_grad", "lora", "huggingface/peft LoRA B and A swapped, Guitaricet/relora#18")
def lora_conv_both_zero(broken: bool) -> Case:
    """A convolutional LoRA whose A is zeroed together with its B."""
    base = nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    down, up = nn.Conv2d(8, 2, 3, padding=1, bias=False), nn.Conv2d(2, 8, 1, bias=False)
    init.zeros_(up.weight)
    if broken:
        init.zeros_(down.weight)
    model = Compute(
        lambda m, x: m.head((m.base(x) + m.lora_up(m.lora_down(x))).relu().mean((2, 3))),
        base=base, lora_down=down, lora_up=up, head=nn.Linear(8, 4),
    )  # fmt: skip
    return Case(model, torch.randn(8, 8, 8, 8), classes(4, 8))


def _recycled_memory(*shape: int) -> Tensor:
    """What ``torch.empty`` may hold: pointers and small integers read as floats."""
    raw = torch.randint(0, 2**31 - 2**24, shape, dtype=torch.int32)
    return raw.view(torch.float32)


@bug("uninitialized nonfinite outlier", "classifier", "huggingface/transformers#28073")
def mismatched_head_of_garbage(broken: bool) -> Case:
    """``ignore_mismatched_sizes``: the new head is never initialized and holds values up to 1e37."""
    model = language_model(2, tied=False)
    model.classifier, model._function = nn.Linear(32, 5), lambda m, i: m.classifier(
        _run(m.layers, m.wte(i) + m.wpe(torch.arange(i.shape[1]))).mean(1)
    )  # fmt: skip
    del model.head, model.norm
    if broken:
        model.classifier.weight = nn.Parameter(_recycled_memory(5, 32))
    return Case(model, classes(200, 8, 16), classes(5, 8))


@bug(
    "uninitialized nonfinite outlier exploding", "bg", "sauradip/STALE#16, openai/CLIP#15, gordicaleksa/pytorch-GAT#11"
)
def bare_parameter_of_garbage(broken: bool) -> Case:
    """``nn.Parameter(torch.empty(1, 512))`` and no init: NaN in some runs, numbers in others."""
    bg = torch.randn(1, 64) * 0.02
    if broken:
        bg = _recycled_memory(1, 64)
        bg[0, 7] = math.nan
    model = Compute(
        lambda m, x: F.normalize(m.proj(x), dim=-1) @ torch.cat([m.words, F.normalize(m.bg, dim=-1)]).T * 10,
        proj=nn.Linear(32, 64), bg=nn.Parameter(bg), words=F.normalize(torch.randn(9, 64), dim=-1),
    )  # fmt: skip
    return Case(model, torch.randn(16, 32), classes(10, 16))


@bug("uninitialized nonfinite norm_affine", "", "flagos-ai/FlagPerf#683, zai-org/ChatGLM3#1240")
def rms_norm_of_empty(broken: bool) -> Case:
    """RMSNorm with ``torch.empty`` for a gain: fresh pages are zeros and denormals."""
    model = language_model(2)
    if broken:
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                noise = torch.zeros_like(module.weight)
                noise[::5] = 2.8e-44
                module.weight = nn.Parameter(noise)
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@bug("nonfinite", "weight", "pvjosue/pytorch_convNd#4, kmkurn/pytorch-crf#1")
def kernel_of_nan(broken: bool) -> Case:
    """A custom convolution leaves its kernel as allocated: NaN."""
    layers = [nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)]
    model = he(nn.Sequential(*layers))
    if broken:
        init.constant_(model[2].weight[:, :2], math.nan)
    return Case(model, torch.randn(8, 3, 16), classes(4, 8))


@bug("outlier overconfident", "wte", "pengzhangzhi/Open-dLLM#8, huggingface/transformers#33325")
def new_tokens_far_too_large(broken: bool) -> Case:
    """Tokens added to a std-.02 table come from ``nn.Embedding``'s N(0, 1): 50 sigma, and their logits win."""
    model = language_model(2)
    with torch.no_grad():
        model.wte.weight[-4:].normal_(0, 1.0 if broken else 0.02)
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@bug("norm_affine", "", "kazuto1011/deeplab-pytorch#44")
def batch_norm_weight_zeroed_for_bias(broken: bool) -> Case:
    """Copy and paste: ``constant_(m.weight, 1)``, then ``constant_(m.weight, 0)`` where the bias was meant."""
    layers: list[nn.Module] = []
    for i, o in ((3, 16), (16, 16), (16, 16)):
        layers += [nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    he(model)
    if broken:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                init.zeros_(module.weight)
    return Case(model, torch.randn(8, 3, 12, 12), classes(10, 8))


@bug("norm_affine", "", "every-parameter init loops; huggingface/transformers#171")
def normal_over_every_parameter(broken: bool) -> Case:
    """``for p in parameters(): normal_(p, 0, .02)`` also writes the norms' gains."""
    model = language_model(2)
    if broken:
        for parameter in model.parameters():
            init.normal_(parameter, 0.0, 0.02)
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@bug("norm_affine", "", "seq2seq tutorials: uniform(-.1, .1) over all parameters of a model with norms")
def uniform_over_every_parameter(broken: bool) -> Case:
    """The seq2seq habit U(-.1, .1) for everything, in a model that has BatchNorm."""
    model = nn.Sequential(
        nn.Conv1d(4, 16, 3), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Conv1d(16, 16, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 12, 3),
    )  # fmt: skip
    he(model)
    if broken:
        for parameter in model.parameters():
            init.uniform_(parameter, -0.1, 0.1)
    return Case(model, torch.randn(16, 4, 16), classes(3, 16))


@bug("norm_affine zero_grad", "norm", "pytorch/torchtitan#4489, google-research/timesfm#481")
def final_norm_gain_zero(broken: bool) -> Case:
    """The final norm inherits the zero start of gain-centred norms: logits and all gradients are zero."""
    model = language_model(2, tied=False)
    if broken:
        init.zeros_(model.norm.weight)
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


class OffsetRMSNorm(nn.Module):
    """``x / rms(x) * (offset + weight)``."""

    def __init__(self, width: int, offset: float, weight: float) -> None:
        super().__init__()
        self.weight, self.offset = nn.Parameter(torch.full((width,), weight)), offset

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (self.offset + self.weight)


@bug("norm_affine", "norm", "llmmanorg/llmman#151, google-research/timesfm#481")
def rms_norm_of_other_convention(broken: bool) -> Case:
    """Gains stored around 0 for ``1 + w``, used as ``w``: each norm multiplies by zero."""
    parts = [
        Compute(lambda m, x: x + m.f(m.norm(x)), norm=OffsetRMSNorm(32, 0.0 if broken else 1.0, 0.0), f=mlp(32, 64, 32))
        for _ in range(3)
    ]
    model = nn.Sequential(*parts, OffsetRMSNorm(32, 0.0 if broken else 1.0, 0.0), nn.Linear(32, 10))
    return Case(model, torch.randn(16, 32), classes(10, 16))


@bug("padding_row", "wte", "huggingface/transformers _init_weights without padding_idx, pytorch/pytorch#6495")
def padding_row_drawn_again(broken: bool) -> Case:
    """``_init_weights`` draws the whole table and forgets the row of ``padding_idx``."""
    table = nn.Embedding(100, 32, padding_idx=1)
    init.normal_(table.weight, 0.0, 0.02)
    if not broken:
        init.zeros_(table.weight[1])
    model = Compute(
        lambda m, i: m.head(m.norm(m.layer(m.wte(i))).mean(1)),
        wte=table, layer=block(32), norm=nn.LayerNorm(32), head=nn.Linear(32, 4),
    )  # fmt: skip
    indices = classes(100, 16, 10)
    indices[:, -3:] = 1
    return Case(model, indices, classes(4, 16))


@bug("padding_row", "bag", "datawhalechina/torch-rechub#176, pytorch/pytorch#6411")
def pretrained_copied_over_padding(broken: bool) -> Case:
    """Pretrained vectors copied into an EmbeddingBag, the padding row among them."""
    bag = nn.EmbeddingBag(60, 16, mode="sum", padding_idx=0)
    vectors = torch.randn(60, 16) * 0.3
    if not broken:
        vectors[0] = 0
    with torch.no_grad():
        bag.weight.copy_(vectors)
    model = Compute(lambda m, i: m.top(m.bag(i)), bag=bag, top=mlp(16, 32, 2))
    indices = classes(60, 32, 6)
    indices[:, -2:] = 0
    return Case(model, indices, classes(2, 32))


@bug("stale_reparam", "", "jik876/hifi-gan#145, NVIDIA/DeepLearningExamples#1331")
def init_after_weight_norm(broken: bool) -> Case:
    """A vocoder's ``init_weights`` writes ``.weight`` of weight-normed convolutions: gone at the next forward."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        norm = nn.utils.weight_norm

        def conv(i: int, o: int) -> nn.Module:
            layer = nn.Conv1d(i, o, 3, padding=1)
            if not broken:
                he(layer, "leaky_relu")
            return norm(layer)

        model = nn.Sequential(conv(4, 16), nn.LeakyReLU(0.1), conv(16, 16), nn.LeakyReLU(0.1), conv(16, 1))
    if broken:
        he(model, "leaky_relu")
    return Case(model, torch.randn(8, 4, 20), torch.randn(8, 1, 20))


@bug("stale_reparam", "", "pytorch/pytorch spectral_norm: .weight is recomputed from weight_orig")
def init_after_spectral_norm(broken: bool) -> Case:
    """SNGAN's discriminator initialized through ``.weight`` after ``spectral_norm``."""
    model = mlp(16, 64, 64, 1, act=lambda: nn.LeakyReLU(0.1))
    if not broken:
        fill(model, init.orthogonal_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for i in (0, 2, 4):
            model[i] = nn.utils.spectral_norm(model[i])
    if broken:
        with torch.no_grad():
            model(torch.randn(2, 16))  # from the first forward pass on .weight is a tensor of its own
            for i in (0, 2, 4):
                init.orthogonal_(model[i].weight)
    return Case(model, torch.randn(32, 16), torch.randint(0, 2, (32, 1)).float(), F.binary_cross_entropy_with_logits)


@bug("untied", "", "dhansmair/flamingo-mini#4, huggingface/transformers#43429")
def head_copied_not_tied(broken: bool) -> Case:
    """``head.weight = nn.Parameter(wte.weight.clone())`` where a tie was meant."""
    model = language_model(2)
    if broken:
        model.head.weight = nn.Parameter(model.wte.weight.detach().clone())
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@bug("wrong_gain exploding vanishing", "", "thuml/Time-Series-Library#209: scale * torch.rand")
def weights_drawn_positive(broken: bool) -> Case:
    """``nn.Parameter(torch.rand(...))`` instead of ``randn``: every weight is positive."""

    def weight(i: int, o: int) -> nn.Parameter:
        return nn.Parameter((torch.rand(i, o) if broken else torch.randn(i, o)) / math.sqrt(i))

    def run(m: Compute, x: Tensor) -> Tensor:
        return F.relu(F.relu(x @ m.w1) @ m.w2) @ m.w3

    model = Compute(run, w1=weight(32, 64), w2=weight(64, 64), w3=weight(64, 5))
    return Case(model, torch.randn(32, 32), classes(5, 32))


@bug("cloned symmetric", "", "rotary/cross attention built by copying q into k")
def key_projection_is_query_projection(broken: bool) -> Case:
    """k's weight is a copy of q's (``load_state_dict`` of the wrong key)."""
    layer = Attention(32)
    if broken:
        layer.k.load_state_dict(layer.q.state_dict())
    model = nn.Sequential(nn.LayerNorm(32), layer, nn.Flatten(), nn.Linear(32 * 6, 3))
    return Case(model, torch.randn(8, 6, 32), classes(3, 8))


@bug(
    "exploding nonfinite norm_affine uninitialized overconfident",
    "",
    "to_empty() leaves buffers; pytorch/pytorch#112012",
)
def running_variance_of_fresh_pages(broken: bool) -> Case:
    """A model materialized from meta is evaluated with running variances of zero: x300 in each norm."""
    layers: list[nn.Module] = []
    for i in (3, 8, 8):
        layers += [nn.Conv2d(i, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = he(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))).eval()
    if broken:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.zero_()
    return Case(model, torch.randn(8, 3, 8, 8), classes(3, 8))


@bug(
    "nonfinite uninitialized",
    "freq",
    "rotary inv_freq left as allocated after a meta start, huggingface/transformers#28073",
)
def rotary_frequencies_of_garbage(broken: bool) -> Case:
    """A non-persistent buffer is neither in the checkpoint nor in ``init_weights``."""

    def run(m: Compute, x: Tensor) -> Tensor:
        angle = torch.arange(8.0)[:, None] * m.inv_freq
        a, b = m.q(x).chunk(2, -1)
        q = torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)
        return m.head(((q @ m.k(x).mT / 4).softmax(-1) @ x).mean(1))

    model = Compute(run, q=nn.Linear(16, 16), k=nn.Linear(16, 16), head=nn.Linear(16, 3))
    frequencies = 100.0 ** (-torch.arange(8.0) / 8)
    if broken:
        frequencies = _recycled_memory(8)
        frequencies[1], frequencies[4] = math.nan, math.inf
    model.register_buffer("inv_freq", frequencies, persistent=False)
    return Case(model, torch.randn(8, 8, 16), classes(3, 8))


@bug("shared", "", "dreamquark-ai/tabnet#76")
def one_batch_norm_between_all_layers(broken: bool) -> Case:
    """``self.bn`` is made once and called after each of three different layers: their statistics mix."""
    norms = [nn.BatchNorm1d(32) for _ in range(3)]

    def run(m: Compute, x: Tensor) -> Tensor:
        for i, layer in enumerate(m.layers):
            x = F.relu((m.norms[0] if broken else m.norms[i])(layer(x)))
        return m.head(x)

    layers = [nn.Linear(16 if i == 0 else 32, 32) for i in range(3)]
    model = Compute(run, layers=layers, norms=norms[:1] if broken else norms, head=nn.Linear(32, 3))
    return Case(model, torch.randn(32, 16), classes(3, 32))


@bug("shared", "scales", "dict.fromkeys(names, module) for per-scale heads")
def module_dict_from_keys(broken: bool) -> Case:
    """``nn.ModuleDict(dict.fromkeys(names, head))``: one head under three names."""
    names, one = ("p3", "p4", "p5"), nn.Linear(16, 8)
    scales = nn.ModuleDict({name: one if broken else nn.Linear(16, 8) for name in names})
    model = Compute(lambda m, x: torch.cat([m.scales[n](x * (k + 1)) for k, n in enumerate(names)], -1), scales=scales)
    return Case(model, torch.randn(16, 16), torch.randn(16, 24))


@bug("symmetric cloned", "q", "attention heads tiled from one head")
def heads_tiled_from_one(broken: bool) -> Case:
    """All heads of q, k and v hold the rows of the first head."""
    layer = Attention(32)
    if broken:
        with torch.no_grad():
            for part in (layer.q, layer.k, layer.v):
                part.weight.copy_(part.weight[:8].repeat(4, 1))
                part.bias.copy_(part.bias[:8].repeat(4))
    model = nn.Sequential(nn.LayerNorm(32), layer, nn.Flatten(), nn.Linear(32 * 6, 3))
    return Case(model, torch.randn(8, 6, 32), classes(3, 8))


@bug("norm_affine vanishing", "", "gain filled with the weights' std")
def norm_gains_of_a_hundredth(broken: bool) -> Case:
    """``constant_(m.weight, .01)`` reaches the norms: each layer's output is a hundredth."""
    layers: list[nn.Module] = []
    for i in (12, 32, 32):
        layers += [nn.Linear(i, 32), nn.LayerNorm(32), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    if broken:
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                init.constant_(module.weight, 0.01)
    return Case(model, torch.randn(32, 12), classes(4, 32))


@bug("outlier", "0.weight", "a channel dequantized with another channel's scale")
def one_channel_dequantized_wrongly(broken: bool) -> Case:
    """One of 64 output channels is 200 times too large."""
    model = mlp(32, 64, 4)
    if broken:
        with torch.no_grad():
            model[0].weight[17] *= 200
    return Case(model, torch.randn(32, 32), classes(4, 32))
