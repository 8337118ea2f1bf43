"""Bugs that show in activations and gradients: wrong fans and gains, saturation, dead units, growth, gates."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import Attention, Case, Compute, Lambda, Residual, bug, classes, fill, he, mlp


@bug("vanishing wrong_gain", "", "davisking/dlib#339, ray-project/ray#7938")
def xavier_under_deep_relu(broken: bool) -> Case:
    """Thirty ReLU layers with Glorot's gain: half of the variance is lost in each."""
    model = mlp(64, *[64] * 30, 10)
    fill(model, lambda w: init.xavier_normal_(w, 1.0 if broken else math.sqrt(2)))
    init.normal_(model[-1].weight, 0, 0.01)
    return Case(model, torch.randn(32, 64), classes(10, 32))


@bug("vanishing wrong_fan", "", "huggingface/pytorch-image-models#84, pytorch/pytorch#23854")
def depthwise_fan_out(broken: bool) -> Case:
    """He fan-out over ``weight.shape`` of depthwise convolutions: std too small by sqrt(channels)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    mode = "fan_out" if broken else "fan_in"
    fill(model, lambda w: init.kaiming_normal_(w, mode=mode, nonlinearity="relu"))
    return Case(model, torch.randn(8, 3, 10, 10), classes(5, 8))


@bug("vanishing wrong_fan", "", "ml-explore/mlx#4536, tracel-ai/burn#574")
def grouped_conv_ungrouped_fan(broken: bool) -> Case:
    """Grouped convolutions scaled by the ungrouped fan: std too small by sqrt(groups) in each layer."""
    model = nn.Sequential(
        nn.Conv1d(16, 64, 3, padding=1), nn.ReLU(),
        *[m for _ in range(5) for m in (nn.Conv1d(64, 64, 3, padding=1, groups=16), nn.ReLU())],
        nn.Flatten(), nn.Linear(64 * 10, 4),
    )  # fmt: skip
    he(model)
    if broken:
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv1d):
                    module.weight.mul_(module.groups**-0.5)
    return Case(model, torch.randn(16, 16, 10), classes(4, 16))


@bug("exploding wrong_fan wrong_gain", "", "Lasagne/Lasagne#858, ClementPinard/FlowNetPytorch#19")
def transposed_conv_fans_swapped(broken: bool) -> Case:
    """A decoder of transposed convolutions, scaled by its output channels: too large where it narrows."""
    model = nn.Sequential(
        nn.ConvTranspose2d(256, 64, 2), nn.ReLU(), nn.ConvTranspose2d(64, 16, 2), nn.ReLU(),
        nn.ConvTranspose2d(16, 4, 2), nn.ReLU(), nn.ConvTranspose2d(4, 1, 2),
    )  # fmt: skip
    he(model)
    if not broken:
        fill(model, lambda w: init.normal_(w, 0, math.sqrt(2 / (w.shape[0] * 4))))
    return Case(model, torch.randn(8, 256, 4, 4), torch.randn(8, 1, 8, 8))


@bug("exploding wrong_fan", "", "LeelaChessZero/lczero-training#43")
def fan_is_sum_of_kernel_shape(broken: bool) -> Case:
    """std = sqrt(2 / sum(shape)) for convolutions: three times too large in each layer."""
    model = nn.Sequential(
        *[m for i in range(6) for m in (nn.Conv2d(24 if i else 6, 24, 3, padding=1), nn.ReLU())],
        nn.Flatten(), nn.Linear(24 * 36, 1),
    )  # fmt: skip
    he(model)
    if broken:
        fill(model, lambda w: init.normal_(w, 0, math.sqrt(2 / (sum(w.shape) / 2))))
        init.xavier_normal_(model[-1].weight)
    return Case(model, torch.randn(16, 6, 6, 6), torch.tanh(torch.randn(16, 1)))


@bug("exploding wrong_fan wrong_gain overconfident", "", "graph layers with torch.randn(in, out)")
def graph_layers_of_randn(broken: bool) -> Case:
    """Graph convolutions with ``nn.Parameter(torch.randn(in, out))``: x8 a layer at width 64."""
    adjacency = (torch.rand(40, 40) < 0.1).float() + torch.eye(40)
    adjacency = adjacency / adjacency.sum(1, keepdim=True)

    def weight(i: int, o: int) -> nn.Parameter:
        return nn.Parameter(torch.randn(i, o) * (1 if broken else math.sqrt(2 / i)))

    def run(m: Compute, x: Tensor) -> Tensor:
        for w in (m.w1, m.w2):
            x = F.relu(adjacency @ (x @ w))
        return adjacency @ (x @ m.w3)

    model = Compute(run, w1=weight(32, 64), w2=weight(64, 64), w3=weight(64, 6))
    return Case(model, torch.randn(40, 32), classes(6, 40))


@bug("exploding residual_growth wrong_gain", "", "GIN/GraphSAGE sum aggregation over raw adjacency")
def sum_over_neighbours(broken: bool) -> Case:
    """Sums over ~20 neighbours in each of five layers: activations grow tenfold a layer."""
    adjacency = (torch.rand(60, 60) < 0.35).float() + torch.eye(60)
    if not broken:
        adjacency = adjacency / adjacency.sum(1, keepdim=True)
    layers = [nn.Linear(16, 16) for _ in range(5)]

    def run(m: Compute, x: Tensor) -> Tensor:
        for layer in m.layers:
            x = F.relu(layer(adjacency @ x))
        return m.head(x)

    model = he(Compute(run, layers=layers, head=nn.Linear(16, 3)))
    return Case(model, torch.randn(60, 16), classes(3, 60))


@bug("exploding", "", "IRNN-like recurrence with a large recurrent gain")
def relu_recurrence_too_large(broken: bool) -> Case:
    """A ReLU recurrence whose matrix has spectral radius 1.6 over 40 steps."""
    rnn = nn.RNN(8, 32, nonlinearity="relu", batch_first=True)
    init.normal_(rnn.weight_ih_l0, 0, 0.1)
    init.zeros_(rnn.bias_ih_l0)
    init.zeros_(rnn.bias_hh_l0)
    init.eye_(rnn.weight_hh_l0)
    if broken:
        init.normal_(rnn.weight_hh_l0, 0, 2.6 / math.sqrt(32))
    model = Compute(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=rnn, head=nn.Linear(32, 1))
    return Case(model, torch.randn(32, 40, 8), torch.randn(32, 1))


@bug("vanishing wrong_gain", "", "cchallu/nbeatsx#1, nothinglo/Deep-Photo-Enhancer#68")
def selu_without_lecun(broken: bool) -> Case:
    """'lecun_normal: pass' leaves torch's default under 24 SELU layers: no self-normalization."""
    model = mlp(64, *[64] * 24, 4, act=nn.SELU)
    if not broken:
        fill(model, lambda w: init.kaiming_normal_(w, nonlinearity="linear"))
    return Case(model, torch.randn(64, 64), classes(4, 64))


@bug("saturated", "", "Glorot & Bengio 2010 forums: uniform(-1, 1) weights under tanh")
def tanh_with_unit_uniform(broken: bool) -> Case:
    """Weights U(-1, 1) at width 64: all tanh units sit at their ends."""
    model = mlp(64, 64, 64, 64, 64, 3, act=nn.Tanh)
    fill(model, lambda w: init.uniform_(w, -1, 1) if broken else init.xavier_uniform_(w))
    return Case(model, torch.randn(64, 64), classes(3, 64))


@bug("saturated", "", "mnielsen/neural-networks-and-deep-learning#33")
def sigmoid_with_unit_normal(broken: bool) -> Case:
    """N(0, 1) weights without 1/sqrt(n): hidden sigmoids saturate."""
    model = nn.Sequential(nn.Linear(400, 30), nn.Sigmoid(), nn.Linear(30, 30), nn.Sigmoid(), nn.Linear(30, 10))
    fill(model, lambda w: init.normal_(w, 0, 1 if broken else w.shape[1] ** -0.5))
    return Case(model, torch.randn(64, 400), classes(10, 64))


@bug("vanishing wrong_gain", "", "ml-explore 'vanishing gradient with sigmoid' threads; keras-team/keras#43")
def deep_sigmoid_small_normal(broken: bool) -> Case:
    """Ten sigmoid layers with N(0, .01): gradients lose two digits a layer."""
    model = mlp(32, *[32] * 10, 3, act=nn.Sigmoid if broken else nn.Tanh)
    fill(model, lambda w: init.normal_(w, 0, 0.01) if broken else init.xavier_normal_(w))
    return Case(model, torch.randn(64, 32), classes(3, 64))


@bug("saturated", "", "keras-team/keras#16916, huggingface/blog#2893")
def attention_without_scale(broken: bool) -> Case:
    """q·k of normalized tokens without 1/sqrt(d): attention is one-hot from the start."""
    layer = Attention(128, heads=1, scale=1.0 if broken else None)
    fill(layer, init.xavier_uniform_)
    model = nn.Sequential(nn.LayerNorm(128), layer, Lambda(lambda t: t.mean(1)), nn.Linear(128, 4))
    return Case(model, torch.randn(16, 20, 128), classes(4, 16))


@bug("saturated wrong_gain overconfident exploding wrong_fan", "", "rasbt/LLMs-from-scratch#857")
def einsum_attention_of_randn(broken: bool) -> Case:
    """Query, key and value weights from ``torch.randn(d, d)``: scores of hundreds."""

    def weight() -> nn.Parameter:
        return nn.Parameter(torch.randn(64, 64) / (1 if broken else 8))

    def run(m: Compute, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("bnd,di->bni", x, w) for w in (m.W_query, m.W_key, m.W_value))
        weights = torch.softmax(torch.einsum("bni,bmi->bnm", q, k) / 8, -1)
        return m.out(torch.einsum("bnm,bmi->bni", weights, v).mean(1))

    model = Compute(run, W_query=weight(), W_key=weight(), W_value=weight(), out=nn.Linear(64, 3))
    return Case(model, torch.randn(16, 12, 64), classes(3, 16))


@bug("dead", "", "kwea123/nerf_pl#51, munshisanowarraihan/nerf-meta#4, bmild/nerf#29")
def density_relu_unlucky(broken: bool) -> Case:
    """NeRF's density goes through a ReLU and all pre-activations start negative: the scene stays empty."""
    trunk, x = he(mlp(24, 64, 64, 64)), torch.randn(32, 16, 24)
    sigma, rgb = nn.Linear(64, 1), nn.Linear(64, 3)
    with torch.no_grad():  # an unlucky draw
        sigma.bias -= sigma(F.relu(trunk(x))).max() + 0.05

    def run(m: Compute, x: Tensor) -> Tensor:
        h = F.relu(m.trunk(x))
        density = F.relu(m.sigma(h)) if broken else F.softplus(m.sigma(h) + 1)
        weight = 1 - torch.exp(-density * 0.1)
        return (weight * torch.sigmoid(m.rgb(h))).sum(1)

    model = Compute(run, trunk=trunk, sigma=sigma, rgb=rgb)
    return Case(model, x, torch.rand(32, 3))


@bug("dead zero_grad", "", "facebookresearch/dlrm#358")
def bias_far_below_zero(broken: bool) -> Case:
    """Biases drawn from the wrong distribution: one layer's are all far below zero and its ReLUs never open."""
    model = he(mlp(13, 64, 32, 1))
    if broken:
        init.normal_(model[2].bias, -12.0, 1.0)
    return Case(model, torch.randn(64, 13), torch.randint(0, 2, (64, 1)).float(), F.binary_cross_entropy_with_logits)


@bug("dead", "", "jvargasmu/population_estimation#68, MollyZhang/Multi-task-TCGA-learning#16")
def relu_as_last_layer(broken: bool) -> Case:
    """A count regressor ends in a ReLU and predicts zero for every sample."""
    model = nn.Sequential(*he(mlp(10, 32, 1)), nn.ReLU() if broken else nn.Softplus())
    with torch.no_grad():
        model[2].weight.copy_(-model[2].weight.abs())
    return Case(model, torch.randn(64, 10), torch.rand(64, 1) * 3)


@bug("exploding nonfinite overconfident", "", "vanderschaarlab/synthcity#331")
def vae_log_variance_unbounded(broken: bool) -> Case:
    """exp(logvar / 2) of a log-variance head with N(0, 1) weights: e^20 before the first step."""
    encoder, head, decoder = he(mlp(32, 64, 64)), nn.Linear(64, 16), mlp(8, 64, 32)
    init.normal_(head.weight, 0, 3.0 if broken else 0.01)

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = m.head(F.relu(m.encoder(x))).chunk(2, -1)
        return m.decoder(mean + torch.exp(logvar / 2) * torch.randn_like(mean)), mean, logvar

    def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        x, mean, logvar = output
        return F.mse_loss(x, target) - 0.5 * (1 + logvar - mean**2 - logvar.exp()).mean()

    model, x = Compute(run, encoder=encoder, head=head, decoder=decoder), torch.randn(64, 32)
    return Case(model, x, x, loss)


@bug("exploding nonfinite", "", "VincentStimper/normalizing-flows#47, rosinality/glow-pytorch#22")
def flow_scales_not_zero(broken: bool) -> Case:
    """Affine couplings with exp scales whose last layer is drawn, not zero: products of exp(N(0, 2))."""
    nets = []
    for _ in range(6):
        net = he(mlp(4, 32, 32, 8))
        init.normal_(net[-1].weight, 0, 0.6) if broken else init.zeros_(net[-1].weight)
        nets.append(net)

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = x.new_zeros(len(x))
        for net in m.nets:
            a, b = x.chunk(2, -1)
            scale, shift = net(a).chunk(2, -1)
            x, logdet = torch.cat([b * torch.exp(scale) + shift, a], -1), logdet + scale.sum(-1)
        return x, logdet

    def loss(output: tuple[Tensor, Tensor], _: object) -> Tensor:
        z, logdet = output
        return (0.5 * (z**2).sum(-1) - logdet).mean()

    return Case(Compute(run, nets=nets), torch.randn(64, 8), torch.zeros(64), loss)


@bug("exploding residual_growth", "", "transformers without norms (T-Fixup, layer6ai-labs/T-Fixup#8)")
def transformer_without_norm(broken: bool) -> Case:
    """Residual branches at full gain and no norm: the stream doubles with each branch."""
    layers: list[nn.Module] = []
    for _ in range(6):
        attention, feed = Attention(32), mlp(32, 128, 32)
        for part in (attention, feed):
            fill(part, lambda w: init.xavier_uniform_(w, 1.6))
        if not broken:
            for last in (attention.out, feed[2]):
                init.zeros_(last.weight)
        layers += [Residual(attention), Residual(feed)]
    model = nn.Sequential(*layers, Lambda(lambda t: t.mean(1)), nn.Linear(32, 4))
    return Case(model, torch.randn(16, 10, 32), classes(4, 16))


@bug(
    "exploding wrong_fan wrong_gain", "", "AUTOMATIC1111/stable-diffusion-webui#4350, Unity-Technologies/ml-agents#4990"
)
def hypernetwork_ignores_main_fan(broken: bool) -> Case:
    """A hypernetwork's head scaled for its own fan: generated weights are sqrt(main fan) too large."""
    main = [(32, 48), (48, 48), (48, 48), (48, 48), (48, 4)]
    heads = []
    for i, o in main:
        head = nn.Linear(16, i * o)
        init.normal_(head.weight, 0, 1 / 4 * (1 if broken else math.sqrt(2 / i)))
        init.zeros_(head.bias)
        heads.append(head)

    def run(m: Compute, x: Tensor) -> Tensor:
        for k, (head, (i, o)) in enumerate(zip(m.heads, main)):
            x = x @ head(m.code).view(i, o)
            x = F.relu(x) if k < 4 else x
        return x

    return Case(Compute(run, heads=heads, code=nn.Parameter(torch.randn(16))), torch.randn(32, 32), torch.randn(32, 4))


@bug("saturated gate", "rnn", "keras-team/keras#7028: gate order z, r, h against r, z, n")
def gru_bias_on_candidate(broken: bool) -> Case:
    """An update-gate bias written into the last third of a GRU's bias: the candidate saturates."""
    rnn = nn.GRU(8, 32, batch_first=True)
    with torch.no_grad():
        for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
            bias.zero_()
        rnn.bias_ih_l0[64:] += 5.0 if broken else 0.0
        rnn.bias_ih_l0[32:64] += 0.0 if broken else 1.0
    model = Compute(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=rnn, head=nn.Linear(32, 3))
    return Case(model, torch.randn(32, 20, 8), classes(3, 32))


@bug("gate saturated", "rnn", "google-research/flood-forecasting#289 with the sign lost")
def forget_bias_negative(broken: bool) -> Case:
    """A forget bias of -5 where +5 was meant: the memory is wiped at each step."""
    rnn = nn.LSTM(8, 32, batch_first=True)
    with torch.no_grad():
        rnn.bias_hh_l0[32:64] = -5.0 if broken else 3.0
        rnn.bias_ih_l0[32:64] = 0.0
    model = Compute(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=rnn, head=nn.Linear(32, 3))
    return Case(model, torch.randn(32, 20, 8), classes(3, 32))


@bug("gate saturated", "", "pytorch/pytorch#750, kngwyu/Rainy#17")
def hand_written_lstm_wrong_chunk(broken: bool) -> Case:
    """A hand-written cell splits i, g, f, o but its bias code counts i, f, g, o: tanh(4) for every candidate."""
    gates = nn.Linear(8 + 24, 96)
    with torch.no_grad():
        gates.bias.zero_()
        (gates.bias[24:48] if broken else gates.bias[48:72]).fill_(4.0 if broken else 1.0)

    def run(m: Compute, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 24)
        for t in range(x.shape[1]):
            i, g, f, o = m.gates(torch.cat([x[:, t], h], -1)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return m.head(h)

    return Case(Compute(run, gates=gates, head=nn.Linear(24, 2)), torch.randn(32, 10, 8), classes(2, 32))


@bug("saturated gate", "", "router logits of ST-MoE without small init; NVIDIA/Megatron-LM#1302")
def router_far_too_sure(broken: bool) -> Case:
    """A router with N(0, 1) weights over 64 features: softmax is one-hot before anything was learned."""
    router = nn.Linear(64, 8, bias=False)
    init.normal_(router.weight, 0, 1.0 if broken else 0.02)
    experts = [he(mlp(64, 64, 64)) for _ in range(8)]

    def run(m: Compute, x: Tensor) -> Tensor:
        x = F.layer_norm(x, (64,))
        gates = m.router(x).softmax(-1)
        return m.head(x + torch.stack([e(x) * gates[:, i : i + 1] for i, e in enumerate(m.experts)]).sum(0))

    return Case(
        Compute(run, router=router, experts=experts, head=nn.Linear(64, 5)), torch.randn(64, 64), classes(5, 64)
    )


@bug("nonfinite exploding overconfident", "", "huggingface/transformers#5651, huggingface/transformers#12225")
def half_precision_overflows(broken: bool) -> Case:
    """N(0, 1) weights in float16: the third layer passes 65504."""
    model = mlp(256, 256, 256, 256, 4)
    fill(model, lambda w: init.normal_(w, 0, 2.0 if broken else (2 / w.shape[1]) ** 0.5))
    return Case(model.half(), torch.randn(8, 256).half(), torch.randn(8, 4).half())


@bug("vanishing wrong_gain", "", "wzmsltw/BSN-boundary-sensitive-network.pytorch#16, SCIInstitute/ShapeWorks#1900")
def init_names_another_layer_type(broken: bool) -> Case:
    """``weight_init`` looks for Conv2d in a network of Conv1d: the default stays, and fades in 14 layers."""
    model = nn.Sequential(
        *[m for i in range(14) for m in (nn.Conv1d(24 if i else 8, 24, 3, padding=1), nn.ReLU())],
        nn.Flatten(), nn.Linear(24 * 12, 3),
    )  # fmt: skip
    if not broken:
        he(model)
    return Case(model, torch.randn(16, 8, 12), classes(3, 16))


@bug("exploding wrong_fan wrong_gain", "", "kaiming_uniform_ over (in, out) parameters used as x @ W")
def fan_of_the_wrong_axis(broken: bool) -> Case:
    """``kaiming_normal_`` reads the fan from dim 1, but the code multiplies x @ W: narrowing layers explode."""

    def weight(i: int, o: int) -> nn.Parameter:
        w = nn.Parameter(torch.empty(i, o))
        init.kaiming_normal_(w if broken else w.T, nonlinearity="relu")
        return w

    widths = (512, 128, 32, 8, 2)
    model = Compute(
        lambda m, x: F.relu(F.relu(F.relu(x @ m.w0) @ m.w1) @ m.w2) @ m.w3,
        **{f"w{k}": weight(i, o) for k, (i, o) in enumerate(itertools.pairwise(widths))},
    )
    return Case(model, torch.randn(32, 512), torch.randn(32, 2))


@bug(
    "vanishing wrong_gain", "", "init.normal_(std=.01) in deep plain CNNs (VGG without BN), pytorch/vision VGG history"
)
def fixed_std_in_plain_cnn(broken: bool) -> Case:
    """AlexNet's N(0, .01) in ten plain convolutions of 32 channels."""
    model = nn.Sequential(
        *[m for i in range(10) for m in (nn.Conv2d(32 if i else 3, 32, 3, padding=1), nn.ReLU())],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    he(model)
    if broken:
        fill(model, lambda w: init.normal_(w, 0, 0.01))
    return Case(model, torch.randn(4, 3, 8, 8), classes(5, 4))


@bug("imbalance", "", "Advocate99/DiffGesture#13: pos_embedding = torch.randn(1, n, d)")
def position_table_drowns_patches(broken: bool) -> Case:
    """N(0, 1) positions added to patch embeddings of std .02."""
    embed, head = nn.Linear(48, 64), nn.Linear(64, 4)
    init.trunc_normal_(embed.weight, 0, 0.002)
    init.zeros_(embed.bias)
    layer, norm = Attention(64), nn.LayerNorm(64)
    pos = nn.Parameter(torch.randn(1, 16, 64) * (1.0 if broken else 0.01))
    model = Compute(
        lambda m, x: m.head(_mix(m, m.embed(x) + m.pos_embedding).mean(1)),
        embed=embed, pos_embedding=pos, layer=layer, norm=norm, head=head,
    )  # fmt: skip
    return Case(model, torch.randn(16, 16, 48), classes(4, 16))


def _mix(m: Compute, x: Tensor) -> Tensor:
    return x + m.layer(m.norm(x))


@bug(
    "vanishing wrong_gain", "", "std given where the variance was meant, and the other way round; microsoft/ai-edu#358"
)
def variance_passed_as_std(broken: bool) -> Case:
    """``normal_(w, 0, 2 / fan_in)`` without the square root."""
    model = mlp(64, 64, 64, 64, 64, 5)
    fill(model, lambda w: init.normal_(w, 0, (2 / w.shape[1]) if broken else (2 / w.shape[1]) ** 0.5))
    init.normal_(model[-1].weight, 0, 0.05)
    return Case(model, torch.randn(32, 64), classes(5, 32))


@bug("residual_growth exploding", "", "lightvector/KataGo#843, allenai/OLMo#797")
def residual_tower_without_norm(broken: bool) -> Case:
    """Sixteen pre-activation He blocks without norm."""
    layers: list[nn.Module] = [nn.Conv2d(3, 12, 3, padding=1)]
    for _ in range(16):
        last = nn.Conv2d(12, 12, 3, padding=1)
        layers.append(Residual(nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), last))
    model = he(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)))
    if not broken:
        for block in model[1:17]:
            init.zeros_(block.branch[3].weight)
    return Case(model, torch.randn(8, 3, 6, 6), classes(4, 8))


@bug("dead vanishing zero_grad saturated", "", "learned step size quantization with step 1 (LSQ)")
def quantizer_step_of_one(broken: bool) -> Case:
    """Weights rounded to multiples of one are all zero; the straight-through gradient hides it."""

    def quantized(w: Tensor, step: float) -> Tensor:
        return w + ((w / step).round().clamp(-8, 7) * step - w).detach()

    def run(m: Compute, x: Tensor) -> Tensor:
        for layer, step in zip(m.layers, steps):
            x = F.relu(F.linear(x, quantized(layer.weight, step), layer.bias))
        return m.head(x)

    layers = [he(nn.Linear(64, 64)) for _ in range(3)]
    steps = [1.5 if broken else 0.05] * 3
    return Case(Compute(run, layers=layers, head=nn.Linear(64, 4)), torch.randn(32, 64), classes(4, 32))


@bug("gate vanishing saturated", "", "squeeze-and-excitation gates with a large negative bias")
def excitation_shut(broken: bool) -> Case:
    """Channel gates on the main path start at sigmoid(-8): each block passes three parts in ten thousand."""

    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 16)
            init.constant_(self.fc.bias, -8.0 if broken else 1.0)

        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(self.fc(x.mean((2, 3))))[:, :, None, None]

    layers = [m for i in (3, 16, 16) for m in (nn.Conv2d(i, 16, 3, padding=1), nn.ReLU(), Gate())]
    model = he(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)))
    for layer in model:
        if isinstance(layer, Gate):
            init.constant_(layer.fc.bias, -8.0 if broken else 1.0)
    return Case(model, torch.randn(8, 3, 8, 8), classes(3, 8))


@bug("gate vanishing saturated", "", "minimal gated units: sign of the update bias")
def update_gate_never_opens(broken: bool) -> Case:
    """h = z h + (1 - z) n with a bias of 9 on z: the state stays at zero."""
    gate, candidate = nn.Linear(8 + 24, 24), nn.Linear(8 + 24, 24)
    init.constant_(gate.bias, 9.0 if broken else 1.0)

    def run(m: Compute, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 24)
        for t in range(x.shape[1]):
            both = torch.cat([x[:, t], h], -1)
            z = torch.sigmoid(m.gate(both))
            h = z * h + (1 - z) * torch.tanh(m.candidate(both))
        return m.head(h)

    model = Compute(run, gate=gate, candidate=candidate, head=nn.Linear(24, 2))
    return Case(model, torch.randn(32, 10, 8), classes(2, 32))


@bug("dead norm_affine", "", "beta of batch norm set where the conv bias was meant")
def batch_norm_shift_below_zero(broken: bool) -> Case:
    """BatchNorm biases of -5 in front of ReLUs: five deviations below zero."""
    layers: list[nn.Module] = []
    for i in (3, 16):
        norm = nn.BatchNorm2d(16)
        init.constant_(norm.bias, -5.0 if broken else 0.0)
        layers += [nn.Conv2d(i, 16, 3, padding=1), norm, nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))
    return Case(model, torch.randn(8, 3, 8, 8), classes(3, 8))


@bug("imbalance input_scale vanishing", "", "late fusion of unscaled modalities")
def fused_features_of_other_scales(broken: bool) -> Case:
    """Image features of rms 1 are concatenated with sensor features of rms 300."""
    image, sensor = nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32)), nn.Linear(6, 32)
    init.normal_(sensor.weight, 0, 150.0 if broken else 0.4)
    model = Compute(
        lambda m, a, b: m.head(F.relu(m.fuse(torch.cat([m.image(a), m.sensor(b)], -1)))),
        image=image, sensor=sensor, fuse=nn.Linear(64, 32), head=nn.Linear(32, 3),
    )  # fmt: skip
    return Case(model, (torch.randn(32, 32), torch.randn(32, 6)), classes(3, 32))
