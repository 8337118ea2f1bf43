"""Healthy models that live by their initialization: deep chains, gates, sines, identities, small widths."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import Case, Compute, Residual, block, classes, fill, he, healthy, mlp


@healthy
def real_nvp() -> Case:
    """Affine couplings whose last layers start at zero: the identity."""
    nets = [he(mlp(4, 32, 32, 8)) for _ in range(6)]
    for net in nets:
        init.zeros_(net[-1].weight)

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor]:
        logdet = x.new_zeros(len(x))
        for net in m.nets:
            a, b = x.chunk(2, -1)
            scale, shift = net(a).chunk(2, -1)
            x, logdet = torch.cat([b * torch.exp(torch.tanh(scale)) + shift, a], -1), logdet + torch.tanh(scale).sum(-1)
        return x, logdet

    return Case(
        Compute(run, nets=nets),
        torch.randn(64, 8),
        torch.zeros(1),
        lambda o, _: (0.5 * o[0].pow(2).sum(-1) - o[1]).mean(),
    )


@healthy
def deep_equilibrium() -> Case:
    """A fixed point of a contraction, thirty iterations of one layer."""

    def run(m: Compute, x: Tensor) -> Tensor:
        z = torch.zeros(len(x), 32)
        for _ in range(30):
            z = torch.tanh(m.W(z) + m.U(x))
        return m.head(z)

    model = Compute(run, W=nn.Linear(32, 32, bias=False), U=nn.Linear(8, 32), head=nn.Linear(32, 3))
    init.normal_(model.W.weight, 0, 0.5 / 32**0.5)
    return Case(model, torch.randn(32, 8), classes(3, 32))


@healthy
def highway_layers() -> Case:
    """Transform gates with bias -2: twelve layers that mostly carry."""
    layers = [nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32)]) for _ in range(12)]
    for _, gate in layers:
        init.constant_(gate.bias, -2.0)

    def run(m: Compute, x: Tensor) -> Tensor:
        for transform, gate in m.layers:
            t = torch.sigmoid(gate(x))
            x = t * F.relu(transform(x)) + (1 - t) * x
        return m.head(x)

    return Case(Compute(run, layers=layers, head=nn.Linear(32, 4)), torch.randn(32, 32), classes(4, 32))


class ReZero(nn.Module):
    def __init__(self, width: int, start: float = 0.0) -> None:
        super().__init__()
        self.layer, self.alpha = nn.Linear(width, width), nn.Parameter(torch.tensor(start))
        init.kaiming_normal_(self.layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.alpha * F.relu(self.layer(x))


@healthy
def rezero_tower() -> Case:
    """Forty residual layers behind scalars that start at zero."""
    return Case(nn.Sequential(*[ReZero(24) for _ in range(40)], nn.Linear(24, 4)), torch.randn(32, 24), classes(4, 32))


@healthy
def skip_init_convolutions() -> Case:
    """SkipInit: a zero scalar at the end of each branch, no norm."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1))
            self.gain = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.gain * self.branch(F.relu(x))

    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), *[Scaled() for _ in range(4)], nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Case(he(model.append(nn.Linear(16, 5))), torch.randn(8, 3, 8, 8), classes(5, 8))


@healthy
def fixup_convolutions() -> Case:
    """Fixup: last layer of a branch zero, scalar biases and a multiplier, head zero."""
    count = 4

    class Fix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c1, self.c2 = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
            self.b1, self.b2, self.b3, self.b4 = (nn.Parameter(torch.zeros(1)) for _ in range(4))
            self.scale = nn.Parameter(torch.ones(1))
            init.normal_(self.c1.weight, 0, math.sqrt(2 / (16 * 9)) * count**-0.5)
            init.zeros_(self.c2.weight)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.c2(F.relu(self.c1(x + self.b1) + self.b2) + self.b3) * self.scale + self.b4)

    stem, head = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 5)
    init.kaiming_normal_(stem.weight, nonlinearity="relu")
    init.zeros_(head.weight)
    init.zeros_(head.bias)
    layers = [stem, nn.ReLU(), *[Fix() for _ in range(count)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), head]
    return Case(nn.Sequential(*layers), torch.randn(8, 3, 8, 8), classes(5, 8))


@healthy
def layer_scale_transformer() -> Case:
    """CaiT's LayerScale of 1e-5 on each branch."""

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.full((32,), 1e-5))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gamma

    layers = [Residual(nn.LayerNorm(32), mlp(32, 64, 32, act=nn.GELU), Scale()) for _ in range(6)]
    return Case(
        nn.Sequential(nn.Linear(10, 32), *layers, nn.LayerNorm(32), nn.Linear(32, 4)),
        torch.randn(16, 10),
        classes(4, 16),
    )


@healthy
def zero_and_hadamard() -> Case:
    """ZerO: identities and Hadamard matrices only, zero branch ends; deterministic and symmetric-looking."""
    hadamard = torch.ones(1, 1)
    for _ in range(5):
        hadamard = torch.cat([torch.cat([hadamard, hadamard], 1), torch.cat([hadamard, -hadamard], 1)], 0)
    layers: list[nn.Module] = [nn.Linear(16, 32)]
    with torch.no_grad():
        layers[0].weight.copy_((hadamard * 32**-0.5)[:, :16])
        layers[0].bias.zero_()
        for _ in range(3):
            a, b = nn.Linear(32, 32), nn.Linear(32, 32)
            init.eye_(a.weight)
            for tensor in (a.bias, b.weight, b.bias):
                init.zeros_(tensor)
            layers.append(Residual(a, nn.ReLU(), b))
        head = nn.Linear(32, 4)
        head.weight.copy_(torch.eye(4, 32))
        head.bias.zero_()
    return Case(nn.Sequential(*layers, head), torch.randn(64, 16), classes(4, 64))


@healthy
def delta_orthogonal_tanh_cnn() -> Case:
    """Fifty tanh convolutions without norm, delta-orthogonal at criticality."""
    layers: list[nn.Module] = []
    for i in range(50):
        conv = nn.Conv2d(16 if i else 3, 16, 3, padding=1, padding_mode="circular")
        init.zeros_(conv.weight)
        init.orthogonal_(conv.weight[:, :, 1, 1], 1.02 if i else 1.0)
        init.zeros_(conv.bias)
        layers += [conv, nn.Tanh()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 16, 4))
    return Case(model, torch.randn(8, 3, 4, 4), classes(4, 8))


@healthy
def self_normalizing_network() -> Case:
    """Twenty SELU layers with LeCun normal weights and alpha dropout."""
    model = fill(mlp(64, *[64] * 20, 4, act=nn.SELU), lambda w: init.kaiming_normal_(w, nonlinearity="linear"))
    return Case(nn.Sequential(nn.AlphaDropout(0.05), *model), torch.randn(64, 64), classes(4, 64))


@healthy
def sine_network() -> Case:
    """SIREN with w0 = 30 in the first layer and in the hidden ones."""

    class Sine(nn.Module):
        def __init__(self, i: int, o: int, first: bool = False) -> None:
            super().__init__()
            self.linear = nn.Linear(i, o)
            bound = 1 / i if first else math.sqrt(6 / i) / 30
            init.uniform_(self.linear.weight, -bound, bound)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(30 * self.linear(x))

    last = nn.Linear(64, 3)
    init.uniform_(last.weight, -math.sqrt(6 / 64) / 30, math.sqrt(6 / 64) / 30)
    return Case(
        nn.Sequential(Sine(2, 64, True), Sine(64, 64), Sine(64, 64), last),
        torch.rand(256, 2) * 2 - 1,
        torch.rand(256, 3),
    )


@healthy
def radial_basis_functions() -> Case:
    """Gaussians around centres drawn from the data."""
    x = torch.randn(128, 4)
    model = Compute(
        lambda m, x: m.out(torch.exp(-torch.cdist(x, m.centres).pow(2) * m.log_beta.exp())),
        centres=nn.Parameter(x[:32].clone()), log_beta=nn.Parameter(torch.full((32,), math.log(0.2))),
        out=nn.Linear(32, 1),
    )  # fmt: skip
    return Case(model, x, torch.sin(x.sum(1, keepdim=True)))


@healthy
def fourier_features() -> Case:
    """A frozen N(0, 10) projection through sine and cosine in front of an MLP."""
    model = Compute(
        lambda m, x: m.net(torch.cat([torch.sin(2 * math.pi * x @ m.B), torch.cos(2 * math.pi * x @ m.B)], -1)),
        net=he(mlp(64, 64, 64, 3)),
    )  # fmt: skip
    model.register_buffer("B", torch.randn(2, 32) * 10)
    return Case(model, torch.rand(256, 2), torch.rand(256, 3))


@healthy
def tiny_widths() -> Case:
    """XOR: two inputs, four units, batch of four."""
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    return Case(mlp(2, 4, 1, act=nn.Tanh), x, torch.tensor([[0.0], [1], [1], [0]]), F.binary_cross_entropy_with_logits)


@healthy
def narrow_relu_chain() -> Case:
    """Eight units, three layers, default init, batch of two."""
    return Case(mlp(8, 8, 8, 2), torch.randn(2, 8), torch.tensor([0, 1]))


@healthy
def batch_of_one() -> Case:
    """A single sample through a plain network."""
    return Case(mlp(12, 16, 16, 3, act=nn.GELU), torch.randn(1, 12), torch.tensor([1]))


@healthy
def deep_linear_orthogonal() -> Case:
    """Thirty orthogonal linear layers (Saxe)."""
    model = nn.Sequential(*[nn.Linear(24, 24, bias=False) for _ in range(30)], nn.Linear(24, 3))
    return Case(fill(model, init.orthogonal_), torch.randn(32, 24), torch.randn(32, 3))


@healthy
def he_relu_thirty() -> Case:
    """Thirty He ReLU layers."""
    return Case(he(mlp(64, *[64] * 30, 10)), torch.randn(32, 64), classes(10, 32))


@healthy
def xavier_tanh_eight() -> Case:
    """Glorot's own: eight tanh layers."""
    return Case(fill(mlp(48, *[48] * 8, 5, act=nn.Tanh), init.xavier_uniform_), torch.randn(64, 48), classes(5, 64))


@healthy
def sigmoid_two_layers() -> Case:
    """The textbook network: one hidden sigmoid layer, squared error."""
    model = nn.Sequential(nn.Linear(16, 12), nn.Sigmoid(), nn.Linear(12, 4), nn.Sigmoid())
    return Case(model, torch.rand(64, 16), F.one_hot(classes(4, 64), 4).float())


@healthy
def swish_without_norm() -> Case:
    """Six SiLU layers at torch's default."""
    return Case(mlp(32, *[64] * 6, 3, act=nn.SiLU), torch.randn(64, 32), classes(3, 64))


@healthy
def deep_norm_post_transformer() -> Case:
    """DeepNorm: residual times alpha, branch weights times beta, post-LN."""
    alpha, beta, layers = (2 * 6) ** 0.25, (8 * 6) ** -0.25, []
    for _ in range(6):
        branch = mlp(32, 64, 32, act=nn.GELU)
        fill(branch, lambda w: init.xavier_normal_(w, beta))
        layers.append(Compute(lambda m, x: m.norm(alpha * x + m.branch(x)), branch=branch, norm=nn.LayerNorm(32)))
    return Case(nn.Sequential(*layers, nn.Linear(32, 4)), torch.randn(16, 32), classes(4, 16))


@healthy
def stochastic_depth() -> Case:
    """Whole branches are dropped at random in training mode."""

    class Drop(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            keep = (torch.rand(len(x), 1, 1) < 0.8).to(x)
            return x * keep / 0.8

    layers = [Residual(nn.LayerNorm(32), mlp(32, 64, 32), Drop()) for _ in range(4)]
    return Case(nn.Sequential(*layers, nn.Flatten(), nn.Linear(160, 3)), torch.randn(8, 5, 32), classes(3, 8))


@healthy
def universal_transformer() -> Case:
    """One block used six times in a loop."""

    def run(m: Compute, x: Tensor) -> Tensor:
        for _ in range(6):
            x = m.block(x)
        return m.head(m.norm(x).mean(1))

    return Case(
        Compute(run, block=block(32), norm=nn.LayerNorm(32), head=nn.Linear(32, 3)),
        torch.randn(8, 8, 32),
        classes(3, 8),
    )


@healthy
def maxout_and_prelu() -> Case:
    """Maxout over pairs, then PReLU."""
    model = Compute(
        lambda m, x: m.out(m.act(m.b(m.a(x).view(len(x), -1, 2).amax(-1)))),
        a=nn.Linear(16, 64), b=nn.Linear(32, 32), act=nn.PReLU(), out=nn.Linear(32, 3),
    )  # fmt: skip
    return Case(model, torch.randn(32, 16), classes(3, 32))


@healthy
def kolmogorov_arnold() -> Case:
    """KAN: spline coefficients of std .1/grid beside a SiLU base."""

    class Layer(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.base, self.coefficients = nn.Linear(i, o, bias=False), nn.Parameter(torch.randn(o, i, 8) * 0.1 / 8)
            self.register_buffer("grid", torch.linspace(-2, 2, 8))

        def forward(self, x: Tensor) -> Tensor:
            bumps = torch.exp(-(((x[..., None] - self.grid) * 2) ** 2))
            return self.base(F.silu(x)) + torch.einsum("big,oig->bo", bumps, self.coefficients)

    return Case(nn.Sequential(Layer(4, 16), Layer(16, 16), Layer(16, 1)), torch.rand(64, 4) * 2 - 1, torch.randn(64, 1))


@healthy
def bayes_by_backprop() -> Case:
    """Means and softplus scales (rho = -5) per weight, noise at each forward pass."""

    class Bayes(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.mu, self.rho = nn.Parameter(torch.randn(o, i) / i**0.5), nn.Parameter(torch.full((o, i), -5.0))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.mu + F.softplus(self.rho) * torch.randn_like(self.mu))

    return Case(nn.Sequential(Bayes(16, 32), nn.ReLU(), Bayes(32, 3)), torch.randn(64, 16), classes(3, 64))


@healthy
def pruned_lottery_ticket() -> Case:
    """Half of the weights masked to zero by ``prune``."""
    from torch.nn.utils import prune

    model = he(mlp(20, 64, 64, 4))
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", 0.5)
    return Case(model, torch.randn(64, 20), classes(4, 64))


@healthy
def sparse_martens() -> Case:
    """Fifteen non-zero inputs per unit, N(0, 1)."""
    model = mlp(64, 64, 64, 3, act=nn.Tanh)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.zero_()
            for row in layer.weight:
                row[torch.randperm(64)[:15]] = torch.randn(15) * 0.5
    return Case(model, torch.randn(64, 64), classes(3, 64))


@healthy
def spiking_neurons() -> Case:
    """Leaky integrate-and-fire units with a surrogate gradient: most are silent in most steps."""

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, v: Tensor) -> Tensor:
            ctx.save_for_backward(v)  # type: ignore[attr-defined]
            return (v > 0).float()

        @staticmethod
        def backward(ctx: object, g: Tensor) -> Tensor:
            (v,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return g / (1 + 10 * v.abs()) ** 2

    def run(m: Compute, x: Tensor) -> Tensor:
        v, out = x.new_zeros(len(x), 48), x.new_zeros(len(x), 3)
        for _ in range(8):
            v = 0.9 * v + m.inp(x)
            s = Spike.apply(v - 1)
            v = v - s
            out = 0.9 * out + m.out(s)
        return out

    return Case(Compute(run, inp=nn.Linear(16, 48), out=nn.Linear(48, 3)), torch.randn(32, 16), classes(3, 32))


@healthy
def gumbel_codebook() -> Case:
    """Gumbel-softmax of low temperature chooses codes: nearly one-hot by design."""
    model = Compute(
        lambda m, x: m.decoder(F.gumbel_softmax(m.encoder(x), tau=0.5) @ m.codes),
        encoder=mlp(16, 32, 24), codes=nn.Parameter(torch.randn(24, 16)), decoder=mlp(16, 32, 16),
    )  # fmt: skip
    x = torch.randn(64, 16)
    return Case(model, x, x)


@healthy
def vector_quantizer() -> Case:
    """VQ-VAE: nearest codes, straight-through, a codebook of U(±1/K)."""
    codes = nn.Parameter(torch.empty(64, 8).uniform_(-1 / 64, 1 / 64))

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = m.encoder(x)
        q = m.codes[torch.cdist(z, m.codes).argmin(1)]
        return m.decoder(z + (q - z).detach()), z, q

    def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        x, z, q = output
        return F.mse_loss(x, target) + F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())

    x = torch.randn(64, 16)
    return Case(Compute(run, encoder=mlp(16, 32, 8), codes=codes, decoder=mlp(8, 32, 16)), x, x, loss)


@healthy
def constant_linear_forecast() -> Case:
    """DLinear: both linear maps start as the mean of the past, every weight 1/L."""
    trend, season = nn.Linear(24, 6), nn.Linear(24, 6)
    for layer in (trend, season):
        init.constant_(layer.weight, 1 / 24)
    model = Compute(
        lambda m, x: m.trend(F.avg_pool1d(x, 5, 1, 2)) + m.season(x - F.avg_pool1d(x, 5, 1, 2)),
        trend=trend, season=season,
    )  # fmt: skip
    return Case(model, torch.randn(32, 3, 24).cumsum(-1) / 5, torch.randn(32, 3, 6))


@healthy
def ordinary_differential_equation() -> Case:
    """A field of small weights, integrated in twenty Euler steps."""

    def run(m: Compute, x: Tensor) -> Tensor:
        for _ in range(20):
            x = x + 0.05 * m.f(x)
        return m.head(x)

    return Case(Compute(run, f=mlp(8, 32, 8, act=nn.Tanh), head=nn.Linear(8, 2)), torch.randn(64, 8), classes(2, 64))


@healthy
def binarized_weights() -> Case:
    """sign(w) with a straight-through gradient and hardtanh, batch norm between."""

    class Binary(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight + (self.weight.sign() - self.weight).detach())

    layers = [m for i in (16, 48, 48) for m in (Binary(i, 48), nn.BatchNorm1d(48), nn.Hardtanh())]
    return Case(nn.Sequential(*layers, nn.Linear(48, 3)), torch.randn(64, 16), classes(3, 64))


@healthy
def selective_state_space() -> Case:
    """Mamba: A = -1..-N in logs, softplus steps of .001 to .1 in the bias, D of ones, a depthwise convolution."""
    d, n = 16, 4
    step = torch.exp(torch.rand(d) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
    dt = nn.Linear(4, d)
    init.uniform_(dt.weight, -0.5, 0.5)
    with torch.no_grad():
        dt.bias.copy_(step + torch.log(-torch.expm1(-step)))

    def run(m: Compute, x: Tensor) -> Tensor:
        x, z = m.inp(m.norm(x)).chunk(2, -1)
        x = F.silu(m.conv(x.mT)[..., : x.shape[1]].mT)
        low, b, c = m.x_proj(x).split([4, n, n], -1)
        delta, a = F.softplus(m.dt(low)), -torch.exp(m.A_log)
        h, ys = x.new_zeros(len(x), d, n), []
        for t in range(x.shape[1]):
            h = torch.exp(delta[:, t, :, None] * a) * h + delta[:, t, :, None] * b[:, t, None] * x[:, t, :, None]
            ys.append((h * c[:, t, None]).sum(-1))
        return m.head(m.out((torch.stack(ys, 1) + m.D * x) * F.silu(z)).mean(1))

    model = Compute(
        run, norm=nn.LayerNorm(8), inp=nn.Linear(8, 2 * d), conv=nn.Conv1d(d, d, 4, padding=3, groups=d), dt=dt,
        x_proj=nn.Linear(d, 4 + 2 * n, bias=False),
        A_log=nn.Parameter(torch.log(torch.arange(1.0, n + 1)).repeat(d, 1)),
        D=nn.Parameter(torch.ones(d)), out=nn.Linear(d, 8), head=nn.Linear(8, 3),
    )  # fmt: skip
    return Case(model, torch.randn(8, 12, 8), classes(3, 8))


@healthy
def linear_attention() -> Case:
    """elu + 1 feature maps, no softmax."""

    def run(m: Compute, x: Tensor) -> Tensor:
        q, k, v = m.qkv(m.norm(x)).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        y = (q @ (k.mT @ v)) / (q @ k.sum(1)[..., None])
        return m.head((x + m.out(y)).mean(1))

    model = Compute(run, norm=nn.LayerNorm(24), qkv=nn.Linear(24, 72), out=nn.Linear(24, 24), head=nn.Linear(24, 3))
    return Case(model, torch.randn(8, 12, 24), classes(3, 8))
