"""Bugs that show in the loss or at the input: sure or ignorant heads, raw inputs, raw targets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import Case, Compute, block, bug, classes, he, mlp, token_loss, tokens


def contrastive(logits: Tensor, _: object) -> Tensor:
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


@bug("overconfident", "", "fastai/fastai#2090, facebookresearch/fairseq#47")
def tied_table_of_std_one(broken: bool) -> Case:
    """The head is tied to ``nn.Embedding``'s N(0, 1): logits of std sqrt(d)."""
    table, head = nn.Embedding(200, 64), nn.Linear(64, 200, bias=False)
    init.normal_(table.weight, 0, 1.0 if broken else 0.02)
    head.weight = table.weight
    model = Compute(
        lambda m, i: m.head(m.norm(m.layer(m.table(i)))),
        table=table, layer=block(64, causal=True), norm=nn.LayerNorm(64), head=head,
    )  # fmt: skip
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@bug("overconfident", "", "huggingface/transformers#13430, BAAI-DCAI/M3D#52, lucidrains/BS-RoFormer#28")
def temperature_not_in_logs(broken: bool) -> Case:
    """``logit_scale = 1/.07`` where its logarithm was meant: exp(14.3) times a cosine."""
    scale = nn.Parameter(torch.tensor(1 / 0.07 if broken else math.log(1 / 0.07)))

    def run(m: Compute, a: Tensor, b: Tensor) -> Tensor:
        return m.logit_scale.exp() * F.normalize(m.image(a), dim=-1) @ F.normalize(m.text(b), dim=-1).T

    model = Compute(run, logit_scale=scale, image=mlp(32, 64, 32), text=mlp(24, 64, 32))
    return Case(model, (torch.randn(16, 32), torch.randn(16, 24)), classes(16, 16), contrastive)


@bug("overconfident", "", "init.normal_(fc.weight) with its default std 1")
def classifier_of_std_one(broken: bool) -> Case:
    """A classifier over 256 normalized features drawn from N(0, 1)."""
    head = nn.Linear(256, 50)
    init.normal_(head.weight, 0, 1.0 if broken else 0.01)
    model = nn.Sequential(nn.Linear(32, 256), nn.BatchNorm1d(256), nn.ReLU(), head)
    return Case(model, torch.randn(64, 32), classes(50, 64))


@bug("overconfident exploding", "", "wkentaro/pytorch-fcn#167")
def segmentation_score_of_std_one(broken: bool) -> Case:
    """FCN's score layer changed from zeros to N(0, 1)."""
    score = nn.Conv2d(32, 21, 1)
    init.normal_(score.weight, 0, 1.0) if broken else init.zeros_(score.weight)
    init.zeros_(score.bias)
    model = he(nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()))
    model.append(score)
    return Case(model, torch.randn(2, 3, 12, 12), classes(21, 2, 12, 12))


@bug("head_prior", "", "nabsabraham/focal-tversky-unet#12, xingyizhou/CenterNet#826")
def lesion_map_without_prior(broken: bool) -> Case:
    """A lesion segmenter with one positive pixel in a hundred starts at one half everywhere."""
    head = nn.Conv2d(16, 1, 1)
    init.normal_(head.weight, 0, 0.01)
    init.constant_(head.bias, 0.0 if broken else -math.log(99))
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), head, nn.Sigmoid())
    target = (torch.rand(4, 1, 32, 32) < 0.01).float()
    return Case(model, torch.randn(4, 1, 32, 32), target, F.binary_cross_entropy)


@bug("head_prior", "", "Alibaba-MIIL/ASL#13, unsky/focal-loss#4")
def rare_labels_without_prior(broken: bool) -> Case:
    """Eighty labels, two in a hundred present, and a bias of zero."""
    model = nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 80))
    init.normal_(model[3].weight, 0, 0.01)
    init.constant_(model[3].bias, 0.0 if broken else -math.log(49))
    target = (torch.rand(64, 80) < 0.02).float()
    return Case(model, torch.randn(64, 32), target, F.binary_cross_entropy_with_logits)


@bug(
    "head_prior input_scale overconfident",
    "",
    "alexmolas.com/2023/02/24/bias-initialization, stats.stackexchange 409000",
)
def target_far_from_zero(broken: bool) -> Case:
    """House prices around 250,000 and an output that starts at zero."""
    target = 250_000 + 60_000 * torch.randn(128, 1)
    model = mlp(13, 64, 64, 1)
    if not broken:
        target = (target - target.mean()) / target.std()
    return Case(model, torch.randn(128, 13), target)


@bug("head_prior input_scale", "", "karpathy.github.io/2019/04/25/recipe: values with mean 50, bias 50")
def mean_not_in_the_bias(broken: bool) -> Case:
    """Ages with mean 50 and spread 5: the loss is 100 times that of the mean."""
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    init.constant_(model[2].bias, 0.0 if broken else 50.0)
    return Case(model, torch.randn(128, 10), 50 + 5 * torch.randn(128, 1))


@bug("input_scale", "target", "techutils.in normalization of regression output, stats.stackexchange 409000")
def target_spread_in_dollars(broken: bool) -> Case:
    """Profits and losses with mean zero and a spread of 20,000 as a target of squared error."""
    target = torch.randn(128, 1) * (20_000 if broken else 1)
    return Case(mlp(8, 32, 32, 1), torch.randn(128, 8), target)


@bug("input_scale", "", "tabular columns in natural units (salary, year), keras-team/keras#2711")
def raw_table_columns(broken: bool) -> Case:
    """Columns in dollars, years and rates without standardization."""
    x = torch.stack([torch.rand(64) * 9e4 + 1e4, 1950 + 70 * torch.rand(64), torch.rand(64), torch.randn(64)], 1)
    if not broken:
        x = (x - x.mean(0)) / x.std(0)
    return Case(mlp(4, 32, 32, 2), x, classes(2, 64))


@bug("input_scale", "", "diffusion time steps 0..999 fed as a number")
def raw_time_step(broken: bool) -> Case:
    """The integer time step goes into a Linear as it is."""

    def run(m: Compute, x: Tensor, t: Tensor) -> Tensor:
        return m.out(F.silu(m.inp(x) + m.time(t if broken else t / 1000)))

    model = Compute(run, inp=nn.Linear(16, 64), time=nn.Linear(1, 64), out=nn.Linear(64, 16))
    return Case(model, (torch.randn(32, 16), torch.randint(0, 1000, (32, 1)).float()), torch.randn(32, 16))


@bug("input_scale", "", "CT slices in Hounsfield units, Project-MONAI discussions")
def raw_hounsfield_units(broken: bool) -> Case:
    """A CT volume in Hounsfield units (-1000..2000) into a plain 3-D network."""
    x = torch.rand(4, 1, 8, 8, 8) * 3000 - 1000
    if not broken:
        x = (x - 500) / 866
    layers = [nn.Conv3d(1, 8, 3), nn.ReLU(), nn.Conv3d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2)]
    model = he(nn.Sequential(*layers))
    return Case(model, x, classes(2, 4))


@bug("saturated input_scale", "", "rmst/ddpg#10, ZhihanLee/DDPG_Learning#2")
def critic_input_unscaled_actions(broken: bool) -> Case:
    """An actor ends in tanh over a last layer with weights of N(0, 1): each action is -1 or 1."""
    model = nn.Sequential(*he(mlp(12, 64, 64, 4)), nn.Tanh())
    init.normal_(model[4].weight, 0, 2.0 if broken else 3e-3)
    return Case(model, torch.randn(64, 12), torch.rand(64, 4) * 2 - 1)


@bug("saturated overconfident", "", "udacity/deep-learning-v2-pytorch#15, VinceShieh/spark-ffm#12")
def factor_machine_overflows_sigmoid(broken: bool) -> Case:
    """A factorization machine with unit factors over 40 fields: its sigmoid saturates on every sample."""
    table = nn.Embedding(400, 16)
    init.normal_(table.weight, 0, 1.0 if broken else 0.02)

    def run(m: Compute, i: Tensor) -> Tensor:
        v = m.table(i)
        return torch.sigmoid(0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(-1))

    target = torch.randint(0, 2, (64,)).float()
    return Case(Compute(run, table=table), classes(400, 64, 40), target, F.binary_cross_entropy)


@bug("overconfident exploding", "", "soft-max policy with a last layer of gain sqrt 2 over raw features")
def logits_from_unnormalized_features(broken: bool) -> Case:
    """Pooled features of a sum over 400 positions feed the classifier unscaled."""
    conv = he(nn.Conv2d(3, 32, 3, padding=1))

    def run(m: Compute, x: Tensor) -> Tensor:
        h = F.relu(m.conv(x))
        return m.head(h.sum((2, 3)) if broken else h.mean((2, 3)))

    return Case(Compute(run, conv=conv, head=nn.Linear(32, 10)), torch.randn(16, 3, 20, 20), classes(10, 16))


@bug("head_prior overconfident saturated", "", "focal prior with its sign lost: log((1 - p) / p)")
def prior_with_the_wrong_sign(broken: bool) -> Case:
    """A bias of +4.6 where -4.6 was meant: every anchor is an object."""
    head = nn.Conv2d(16, 9, 3, padding=1)
    init.normal_(head.weight, 0, 0.01)
    init.constant_(head.bias, 4.6 if broken else -4.6)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), head)
    target = (torch.rand(2, 9, 12, 12) < 0.01).float()
    return Case(model, torch.randn(2, 3, 12, 12), target, F.binary_cross_entropy_with_logits)


@bug("head_prior", "", "karpathy.github.io/2019/04/25/recipe: imbalanced classes, wkentaro/pytorch-fcn background")
def background_class_without_prior(broken: bool) -> Case:
    """Forty classes, 97 of 100 pixels background, and logits that start level."""
    head = nn.Conv2d(16, 40, 1)
    init.normal_(head.weight, 0, 0.01)
    init.zeros_(head.bias)
    if not broken:
        with torch.no_grad():
            head.bias[0] = math.log(0.97 * 39 / 0.03)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), head)
    target = torch.where(torch.rand(2, 30, 30) < 0.97, 0, torch.randint(1, 40, (2, 30, 30)))
    return Case(model, torch.randn(2, 3, 30, 30), target)


@bug("head_prior", "", "DETR-like focal heads, open-mmlab/mmdetection#1825")
def two_outputs_one_without_prior(broken: bool) -> Case:
    """Classes and boxes come as a tuple, the loss adds them; the class bias knows no base rate."""
    model = Compute(
        lambda m, x: (m.cls(F.gelu(m.trunk(x))), m.box(F.gelu(m.trunk(x)))),
        trunk=nn.Linear(32, 32), cls=nn.Linear(32, 20), box=nn.Linear(32, 4),
    )  # fmt: skip
    init.normal_(model.cls.weight, 0, 0.01)
    init.constant_(model.cls.bias, 0.0 if broken else -math.log(99))
    target = (torch.rand(4, 50, 20) < 0.01).float()

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[0], target) * 2 + output[1].abs().mean()

    return Case(model, torch.randn(4, 50, 32), target, loss)


@bug("overconfident", "", "auxiliary heads of deep supervision initialized with std 1")
def auxiliary_head_too_large(broken: bool) -> Case:
    """The second of two classifiers has N(0, 1) weights; only the sum of the losses is seen."""
    main, aux = nn.Linear(64, 10), nn.Linear(64, 10)
    init.normal_(main.weight, 0, 0.02)
    init.normal_(aux.weight, 0, 1.5 if broken else 0.02)
    model = Compute(
        lambda m, x: {"out": m.main(torch.tanh(m.b(torch.tanh(m.a(x))))), "aux": m.aux(torch.tanh(m.a(x)))},
        a=nn.Linear(32, 64), b=nn.Linear(64, 64), main=main, aux=aux,
    )  # fmt: skip

    def loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
        return F.cross_entropy(output["out"], target) + 0.4 * F.cross_entropy(output["aux"], target)

    return Case(model, torch.randn(64, 32), classes(10, 64), loss)


@bug("input_scale vanishing", "", "fluxes in SI units")
def inputs_of_a_millionth(broken: bool) -> Case:
    """Physical quantities of 1e-6: only biases reach the second layer."""
    model = mlp(16, 32, 32, 2)
    return Case(model, torch.randn(64, 16) * (1e-6 if broken else 1.0), torch.randn(64, 2))


@bug("input_scale", "", "log-mel spectrograms in decibels")
def spectrogram_in_decibels(broken: bool) -> Case:
    """Values from -80 to 0 without mean subtraction."""
    x = -80 * torch.rand(8, 1, 16, 20)
    if not broken:
        x = (x + 40) / 23
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return Case(model.extend([nn.Flatten(), nn.Linear(8, 4)]), x, classes(4, 8))


@bug("input_scale", "", "categorical ids fed as numbers")
def ids_as_numbers(broken: bool) -> Case:
    """User and item numbers up to 100,000 go into a Linear."""
    ids = torch.randint(0, 100_000, (64, 2))
    if broken:
        return Case(mlp(2, 32, 1), ids.float(), torch.randn(64, 1))
    model = Compute(lambda m, i: m.net(m.table(i % 500).flatten(1)), table=nn.Embedding(500, 8), net=mlp(16, 32, 1))
    return Case(model, ids, torch.randn(64, 1))
