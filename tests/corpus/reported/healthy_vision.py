"""Healthy models of pictures, volumes, points and generators."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import Case, Compute, Lambda, Residual, block, classes, fill, he, healthy, mlp


def conv(i: int, o: int, k: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2, **options)  # type: ignore[arg-type]


def images(batch: int = 4, size: int = 12, count: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 3, size, size), classes(count, batch)


def pooled(width: int, count: int = 5) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, count)]


@healthy
def conv_mixer() -> Case:
    """Patch embedding, depthwise residual, pointwise."""
    layers: list[nn.Module] = [nn.Conv2d(3, 24, 3, 3), nn.GELU(), nn.BatchNorm2d(24)]
    for _ in range(3):
        layers += [Residual(conv(24, 24, 5, groups=24), nn.GELU(), nn.BatchNorm2d(24)), conv(24, 24, 1), nn.GELU()]
        layers += [nn.BatchNorm2d(24)]
    return Case(nn.Sequential(*layers, *pooled(24)), *images())


@healthy
def mlp_mixer() -> Case:
    """Tokens and channels mixed in turn."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 3), nn.Flatten(2)]
    swap = Lambda(lambda t: t.transpose(1, 2))
    for _ in range(2):
        layers += [swap, Residual(nn.LayerNorm(32), mlp(32, 64, 32, act=nn.GELU)), swap]
        layers += [Residual(nn.LayerNorm(16), mlp(16, 32, 16, act=nn.GELU))]
    return Case(nn.Sequential(*layers, Lambda(lambda t: t.mean(2)), nn.Linear(32, 5)), *images())


class SqueezeExcite(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(x.mean((2, 3), keepdim=True)))))


@healthy
def efficientnet_blocks() -> Case:
    """Inverted bottlenecks with squeeze-excite, timm's own init (fan-out over groups)."""
    layers: list[nn.Module] = [conv(3, 16, bias=False), nn.BatchNorm2d(16), nn.SiLU()]
    for _ in range(2):
        layers.append(
            Residual(
                conv(16, 64, 1, bias=False), nn.BatchNorm2d(64), nn.SiLU(),
                conv(64, 64, 3, groups=64, bias=False), nn.BatchNorm2d(64), nn.SiLU(), SqueezeExcite(64),
                conv(64, 16, 1, bias=False), nn.BatchNorm2d(16),
            )
        )  # fmt: skip
    model = nn.Sequential(*layers, *pooled(16))
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            init.normal_(m.weight, 0, math.sqrt(2 / (m.out_channels // m.groups * m.kernel_size[0] ** 2)))
    return Case(model, *images(8))


@healthy
def mobilenet_wrong_fan_under_norm() -> Case:
    """He fan-out over depthwise shapes, harmless because BatchNorm follows each convolution."""
    layers: list[nn.Module] = []
    for i in (3, 24, 24):
        layers += [conv(i, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
        layers += [conv(24, 24, groups=24, bias=False), nn.BatchNorm2d(24), nn.ReLU6()]
    model = fill(
        nn.Sequential(*layers, *pooled(24)), lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu")
    )
    init.normal_(model[-1].weight, 0, 0.01)
    return Case(model, *images(8))


@healthy
def densenet() -> Case:
    """Each layer sees all earlier ones, BN-ReLU-conv."""

    def run(m: Compute, x: Tensor) -> Tensor:
        x = m.stem(x)
        for layer in m.layers:
            x = torch.cat([x, layer(x)], 1)
        return m.head(x)

    layers = [nn.Sequential(nn.BatchNorm2d(16 + 8 * i), nn.ReLU(), conv(16 + 8 * i, 8)) for i in range(4)]
    model = Compute(
        run, stem=conv(3, 16), layers=layers, head=nn.Sequential(nn.BatchNorm2d(48), nn.ReLU(), *pooled(48))
    )
    return Case(model, *images())


@healthy
def inception() -> Case:
    """Branches of different kernels, concatenated; pooling among them."""

    def branches(i: int) -> nn.Module:
        return Compute(
            lambda m, x: torch.cat([m.a(x), m.b(x), m.c(x)], 1),
            a=nn.Sequential(conv(i, 8, 1), nn.ReLU()),
            b=nn.Sequential(conv(i, 8, 1), nn.ReLU(), conv(8, 8), nn.ReLU()),
            c=nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(i, 8, 1), nn.ReLU()),
        )

    return Case(he(nn.Sequential(branches(3), branches(24), branches(24), *pooled(24))), *images())


@healthy
def resnext_zero_gamma() -> Case:
    """Grouped bottlenecks; the last norm of each branch starts at zero."""
    layers: list[nn.Module] = [conv(3, 32, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    for _ in range(3):
        last = nn.BatchNorm2d(32)
        init.zeros_(last.weight)
        layers += [
            Residual(
                conv(32, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                conv(16, 16, groups=4, bias=False), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 32, 1, bias=False), last,
            ),
            nn.ReLU(),
        ]  # fmt: skip
    return Case(he(nn.Sequential(*layers, *pooled(32))), *images())


@healthy
def shufflenet() -> Case:
    """Half of the channels pass, half are convolved, then shuffled."""

    def unit() -> nn.Module:
        return Compute(
            lambda m, x: torch.stack([x[:, :12], m.f(x[:, 12:])], 2).flatten(1, 2),
            f=nn.Sequential(
                conv(12, 12, 1), nn.BatchNorm2d(12), nn.ReLU(), conv(12, 12, groups=12), nn.BatchNorm2d(12)
            ),
        )

    return Case(nn.Sequential(conv(3, 24), nn.BatchNorm2d(24), nn.ReLU(), unit(), unit(), *pooled(24)), *images())


@healthy
def vision_transformer() -> Case:
    """Truncated normals of .02, zero class token, zero head."""
    model = Compute(
        lambda m, x: m.head(
            m.norm(m.body(torch.cat([m.cls.expand(len(x), 1, -1), m.patch(x).flatten(2).mT], 1) + m.pos))[:, 0]
        ),
        patch=nn.Conv2d(3, 32, 4, 4), cls=nn.Parameter(torch.zeros(1, 1, 32)), pos=nn.Parameter(torch.zeros(1, 10, 32)),
        body=nn.Sequential(*[block(32) for _ in range(3)]), norm=nn.LayerNorm(32), head=nn.Linear(32, 5),
    )  # fmt: skip
    for m in model.modules():
        if isinstance(m, nn.Linear):
            init.trunc_normal_(m.weight, std=0.02)
            init.zeros_(m.bias)
    init.trunc_normal_(model.pos, std=0.02)
    init.zeros_(model.head.weight)
    return Case(model, *images())


@healthy
def unet_with_attention_and_time() -> Case:
    """A diffusion U-Net: group norms, zero last convolutions, sinusoidal time, attention at the bottom."""

    class Block(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.n1, self.c1, self.n2, self.c2 = nn.GroupNorm(4, i), conv(i, o), nn.GroupNorm(4, o), conv(o, o)
            self.t, self.skip = nn.Linear(16, o), conv(i, o, 1) if i != o else nn.Identity()
            init.zeros_(self.c2.weight)
            init.zeros_(self.c2.bias)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = self.c1(F.silu(self.n1(x))) + self.t(F.silu(t))[:, :, None, None]
            return self.skip(x) + self.c2(F.silu(self.n2(h)))

    def run(m: Compute, x: Tensor, t: Tensor) -> Tensor:
        freq = torch.exp(-torch.arange(8) * math.log(1e4) / 8)
        t = m.time(torch.cat([torch.sin(t[:, None] * freq), torch.cos(t[:, None] * freq)], -1))
        a = m.d1(m.stem(x), t)
        b = m.d2(F.avg_pool2d(a, 2), t)
        b = b + m.attn(b.flatten(2).mT, b.flatten(2).mT, b.flatten(2).mT)[0].mT.view_as(b)
        return m.out(m.u1(torch.cat([a, F.interpolate(b, scale_factor=2)], 1), t))

    out = conv(16, 3)
    init.zeros_(out.weight)
    model = Compute(
        run, stem=conv(3, 16), time=mlp(16, 32, 16, act=nn.SiLU), d1=Block(16, 16), d2=Block(16, 32),
        attn=nn.MultiheadAttention(32, 4, batch_first=True), u1=Block(48, 16),
        out=nn.Sequential(nn.GroupNorm(4, 16), nn.SiLU(), out),
    )  # fmt: skip
    return Case(model, (torch.randn(4, 3, 8, 8), torch.randint(0, 1000, (4,)).float()), torch.randn(4, 3, 8, 8))


@healthy
def plain_unet_with_ignored_pixels() -> Case:
    """Segmentation without norms, He, ``ignore_index=255`` and a rare class."""

    def two(i: int, o: int) -> nn.Module:
        return nn.Sequential(conv(i, o), nn.ReLU(), conv(o, o), nn.ReLU())

    def run(m: Compute, x: Tensor) -> Tensor:
        a = m.a(x)
        return m.out(m.c(torch.cat([a, m.up(m.b(F.max_pool2d(a, 2)))], 1)))

    up = nn.ConvTranspose2d(16, 8, 2, 2)
    model = he(Compute(run, a=two(3, 8), b=two(8, 16), up=up, c=two(16, 8), out=nn.Conv2d(8, 4, 1)))
    init.normal_(model.out.weight, 0, 0.05)
    target = (torch.rand(4, 12, 12) * 4).pow(0.7).long().clamp(max=3)
    target[:, :2] = 255
    return Case(model, images()[0], target, lambda o, t: F.cross_entropy(o, t, ignore_index=255))


@healthy
def dcgan_generator() -> Case:
    """N(0, .02), gains N(1, .02), tanh output."""
    layers: list[nn.Module] = []
    for i, o in ((16, 32), (32, 16)):
        layers += [nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    model = nn.Sequential(*layers, nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh())
    _dcgan(model)
    return Case(model, torch.randn(8, 16, 2, 2))


@healthy
def dcgan_discriminator() -> Case:
    """N(0, .02) under leaky ReLUs and batch norm."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2)]
    model = nn.Sequential(*layers, nn.Conv2d(32, 1, 4, bias=False), nn.Flatten())
    _dcgan(model)
    return Case(model, torch.randn(8, 3, 16, 16), torch.ones(8, 1), F.binary_cross_entropy_with_logits)


def _dcgan(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            init.normal_(m.weight, 0, 0.02)
        elif isinstance(m, nn.BatchNorm2d):
            init.normal_(m.weight, 1, 0.02)


@healthy
def wgan_critic() -> Case:
    """A critic judged by a difference of means, without norms."""
    model = nn.Sequential(conv(3, 16, stride=2), nn.LeakyReLU(0.2), conv(16, 32, stride=2), nn.LeakyReLU(0.2))
    model.extend([nn.Flatten(), nn.Linear(32 * 9, 1)])
    return Case(model, torch.randn(16, 3, 12, 12), torch.zeros(1), lambda o, _: o[:8].mean() - o[8:].mean())


@healthy
def spectral_norm_discriminator() -> Case:
    """Orthogonal weights, then ``spectral_norm`` by hooks: the order that works."""
    layers = [conv(3, 16), conv(16, 16), nn.Linear(16 * 36, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        for layer in layers:
            init.orthogonal_(layer.weight)
        a, b, c = (nn.utils.spectral_norm(layer) for layer in layers)
    model = nn.Sequential(a, nn.LeakyReLU(0.1), nn.AvgPool2d(2), b, nn.LeakyReLU(0.1), nn.Flatten(), c)
    return Case(model, images(8)[0], torch.zeros(8, 1), lambda o, _: F.relu(1 - o).mean())


@healthy
def style_modulated_generator() -> Case:
    """Equalized learning rate: N(0, 1) weights scaled at run time, a learned constant input, style bias one."""

    class Equalized(nn.Module):
        def __init__(self, i: int, o: int, bias: float = 0.0) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.randn(o, i)), nn.Parameter(torch.full((o,), bias))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight * self.weight.shape[1] ** -0.5, self.bias)

    def run(m: Compute, z: Tensor) -> Tensor:
        w = z * torch.rsqrt(z.pow(2).mean(1, keepdim=True) + 1e-8)
        for layer in m.mapping:
            w = F.leaky_relu(layer(w), 0.2) * math.sqrt(2)
        x = m.const.expand(len(z), -1, -1, -1)
        for style, kernel in zip(m.styles, m.kernels):
            k = kernel * (16 * 9) ** -0.5 * style(w)[:, None, :, None, None]
            k = k * torch.rsqrt(k.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8)
            x = F.conv2d(x.reshape(1, -1, 6, 6), k.flatten(0, 1), padding=1, groups=len(z)).view(len(z), 16, 6, 6)
            x = F.leaky_relu(x, 0.2) * math.sqrt(2)
        return m.rgb(x)

    model = Compute(
        run, mapping=[Equalized(16, 16) for _ in range(3)], const=nn.Parameter(torch.randn(1, 16, 6, 6)),
        styles=[Equalized(16, 16, 1.0) for _ in range(2)],
        kernels=nn.ParameterList([nn.Parameter(torch.randn(16, 16, 3, 3)) for _ in range(2)]), rgb=nn.Conv2d(16, 3, 1),
    )  # fmt: skip
    return Case(model, torch.randn(8, 16))


@healthy
def beta_vae() -> Case:
    """Encoder, reparameterization, sigmoid decoder, BCE against pictures in [0, 1]."""

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = m.encoder(x).chunk(2, -1)
        return torch.sigmoid(m.decoder(mean + torch.exp(logvar / 2) * torch.randn_like(mean))), mean, logvar

    def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        x, mean, logvar = output
        kl = -0.5 * (1 + logvar - mean**2 - logvar.exp()).sum(-1).mean()
        return F.binary_cross_entropy(x, target, reduction="none").sum(-1).mean() + kl

    x = torch.rand(32, 64)
    return Case(Compute(run, encoder=mlp(64, 32, 16), decoder=mlp(8, 32, 64)), x, x, loss)


@healthy
def autoencoder_of_sparse_digits() -> Case:
    """Sigmoid outputs and BCE against mostly dark pixels."""
    x = (torch.rand(32, 100) < 0.2).float() * torch.rand(32, 100)
    model = nn.Sequential(*mlp(100, 32, 8, 32, 100), nn.Sigmoid())
    return Case(model, x, x, F.binary_cross_entropy)


@healthy
def detection_with_prior() -> Case:
    """A RetinaNet head: N(0, .01) towers, bias -log(99), box regression beside it."""

    def tower() -> list[nn.Module]:
        return [conv(16, 16), nn.ReLU(), conv(16, 16), nn.ReLU()]

    model = Compute(
        lambda m, x: (m.cls(m.stem(x)), m.box(m.stem(x))),
        stem=nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU()),
        cls=nn.Sequential(*tower(), conv(16, 9)), box=nn.Sequential(*tower(), conv(16, 4)),
    )  # fmt: skip
    fill(model, lambda w: init.normal_(w, 0, 0.01))
    init.constant_(model.cls[-1].bias, -math.log(99))
    target = (torch.rand(2, 9, 10, 10) < 0.01).float()

    def loss(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output[0], target) + F.smooth_l1_loss(
            output[1], torch.zeros_like(output[1])
        )

    return Case(model, torch.randn(2, 3, 10, 10), target, loss)


@healthy
def detr_queries() -> Case:
    """Object queries N(0, 1), zero decoder input, a set of boxes through a sigmoid."""
    layer = nn.TransformerDecoderLayer(32, 4, 64, 0.0, batch_first=True)

    def run(m: Compute, x: Tensor) -> tuple[Tensor, Tensor]:
        memory = m.inp(x).flatten(2).mT
        h = m.decoder(torch.zeros(len(x), 10, 32) + m.queries.weight, memory)
        return m.cls(h), m.box(h).sigmoid()

    model = Compute(
        run, inp=nn.Conv2d(3, 32, 3, 3), queries=nn.Embedding(10, 32), decoder=layer, cls=nn.Linear(32, 6),
        box=mlp(32, 32, 4),
    )  # fmt: skip
    target = classes(6, 4, 10)
    return Case(
        model,
        images()[0],
        target,
        lambda o, t: F.cross_entropy(o[0].flatten(0, 1), t.flatten()) + o[1].sub(0.5).abs().mean(),
    )


@healthy
def nerf() -> Case:
    """Positional encoding, skip connection, softplus density, sigmoid colours."""

    def run(m: Compute, x: Tensor) -> Tensor:
        code = torch.cat([f(x * 2.0**k) for k in range(6) for f in (torch.sin, torch.cos)], -1)
        h = F.relu(m.b(torch.cat([F.relu(m.a(code)), code], -1)))
        alpha = 1 - torch.exp(-F.softplus(m.sigma(h) - 1) * 0.1)
        return (alpha * torch.sigmoid(m.rgb(h))).sum(1)

    model = Compute(run, a=mlp(36, 64, 64), b=nn.Linear(100, 64), sigma=nn.Linear(64, 1), rgb=nn.Linear(64, 3))
    return Case(model, torch.rand(16, 12, 3) * 2 - 1, torch.rand(16, 3))


@healthy
def spatial_transformer() -> Case:
    """The affine head has zero weights and the identity in its bias."""
    theta = nn.Linear(32, 6)
    init.zeros_(theta.weight)
    with torch.no_grad():
        theta.bias.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def run(m: Compute, x: Tensor) -> Tensor:
        grid = F.affine_grid(m.theta(m.locate(x)).view(-1, 2, 3), list(x.shape), align_corners=False)
        return m.classify(F.grid_sample(x, grid, align_corners=False))

    locate = nn.Sequential(conv(3, 8, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 32), nn.ReLU())
    model = Compute(run, theta=theta, locate=locate, classify=nn.Sequential(conv(3, 16), nn.ReLU(), *pooled(16)))
    return Case(model, *images(8))


@healthy
def deformable_offsets_zero() -> Case:
    """A convolution samples at learned offsets that start at zero."""
    offset = conv(8, 2)
    init.zeros_(offset.weight)
    init.zeros_(offset.bias)

    def run(m: Compute, x: Tensor) -> Tensor:
        h = F.relu(m.stem(x))
        grid = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(h.shape), align_corners=False)
        return m.head(F.grid_sample(h, grid + m.offset(h).permute(0, 2, 3, 1), align_corners=False))

    return Case(
        Compute(run, stem=conv(3, 8), offset=offset, head=nn.Sequential(conv(8, 8), nn.ReLU(), *pooled(8))), *images()
    )


@healthy
def capsules() -> Case:
    """Capsules with squash and three routing rounds; prediction matrices N(0, .1)."""

    def squash(s: Tensor) -> Tensor:
        n = s.pow(2).sum(-1, keepdim=True)
        return s * n.sqrt() / (1 + n)

    def run(m: Compute, x: Tensor) -> Tensor:
        u = squash(F.relu(m.conv(x)).flatten(1).view(len(x), -1, 8))
        u = torch.einsum("bnd,nkde->bnke", u, m.W)
        b = torch.zeros(u.shape[:3])
        for _ in range(3):
            v = squash((b.softmax(2)[..., None] * u).sum(1))
            b = b + (u * v[:, None]).sum(-1)
        return v.norm(dim=-1)

    def margin(lengths: Tensor, target: Tensor) -> Tensor:
        hot = F.one_hot(target, 5)
        return (hot * F.relu(0.9 - lengths) ** 2 + 0.5 * (1 - hot) * F.relu(lengths - 0.1) ** 2).sum(1).mean()

    model = Compute(run, conv=nn.Conv2d(3, 16, 5, 3), W=nn.Parameter(torch.randn(18, 5, 8, 16) * 0.1))
    return Case(model, *images(), margin)


@healthy
def point_net() -> Case:
    """Shared MLP over points, max over the set."""
    layers = [nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU()]
    model = nn.Sequential(*layers, Lambda(lambda t: t.amax(2)), nn.Linear(64, 4))
    return Case(model, torch.rand(8, 3, 40) * 2 - 1, classes(4, 8))


@healthy
def siamese_with_temperature() -> Case:
    """Two towers share weights; cosine over a temperature of .07."""

    def run(m: Compute, a: Tensor, b: Tensor) -> Tensor:
        return F.normalize(m.f(a), dim=-1) @ F.normalize(m.f(b), dim=-1).T * m.logit_scale.exp()

    x = torch.randn(32, 40)
    model = Compute(run, f=mlp(40, 64, 32), logit_scale=nn.Parameter(torch.tensor(math.log(1 / 0.07))))
    return Case(
        model, (x, x + 0.1 * torch.randn_like(x)), classes(2, 32), lambda o, _: F.cross_entropy(o, torch.arange(32))
    )


@healthy
def arc_face_head() -> Case:
    """Cosine logits times 30 with an angular margin: the loss starts high by construction."""

    def run(m: Compute, x: Tensor) -> Tensor:
        return F.linear(F.normalize(m.f(x)), F.normalize(m.W))

    def loss(cosine: Tensor, target: Tensor) -> Tensor:
        angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6)) + 0.5 * F.one_hot(target, 20)
        return F.cross_entropy(30 * torch.cos(angle), target)

    weight = nn.Parameter(torch.empty(20, 64))
    init.xavier_uniform_(weight)
    return Case(Compute(run, f=mlp(40, 64, 64), W=weight), torch.randn(32, 40), classes(20, 32), loss)


@healthy
def small_cnn_in_eval_mode() -> Case:
    """Four channels, batch of two, eval mode with running statistics as created."""
    model = nn.Sequential(
        conv(1, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 4), nn.BatchNorm2d(4), nn.ReLU(), *pooled(4, 2)
    )
    return Case(model.eval(), torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))


@healthy
def pictures_in_unit_range() -> Case:
    """Inputs in [0, 1] without centring, as most tutorials have them; default init."""
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 49, 32), nn.ReLU()
    )
    return Case(model.append(nn.Linear(32, 10)), torch.rand(16, 1, 16, 16), classes(10, 16))


@healthy
def raw_bytes_into_batch_norm() -> Case:
    """Bytes as floats, but the first layer is a BatchNorm."""
    model = nn.Sequential(nn.BatchNorm2d(3), conv(3, 8), nn.ReLU(), *pooled(8))
    return Case(model, torch.randint(0, 256, (8, 3, 10, 10)).float(), classes(5, 8))


@healthy
def kernels_inflated_from_pictures() -> Case:
    """I3D: 3-D kernels are 2-D kernels repeated in time, divided by their number."""
    layers: list[nn.Module] = []
    for i, o in ((3, 12), (12, 12)):
        flat, deep = nn.Conv2d(i, o, 3, padding=1), nn.Conv3d(i, o, 3, padding=1)
        with torch.no_grad():
            deep.weight.copy_(flat.weight[:, :, None].repeat(1, 1, 3, 1, 1) / 3)
        layers += [deep, nn.BatchNorm3d(12), nn.ReLU()]
    return Case(
        nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(12, 4)),
        torch.randn(4, 3, 6, 8, 8),
        classes(4, 4),
    )


@healthy
def masked_autoencoder() -> Case:
    """Three patches in four are replaced by a learned zero token."""

    def run(m: Compute, x: Tensor, keep: Tensor) -> Tensor:
        h = torch.where(keep[..., None], m.embed(x), m.mask) + m.pos
        return m.out(m.norm(m.body(h)))

    model = Compute(
        run, embed=nn.Linear(24, 32), mask=nn.Parameter(torch.zeros(32)),
        pos=nn.Parameter(torch.randn(1, 16, 32) * 0.02),
        body=block(32), norm=nn.LayerNorm(32), out=nn.Linear(32, 24),
    )  # fmt: skip
    x = torch.randn(8, 16, 24)
    return Case(model, (x, torch.rand(8, 16) < 0.25), x)


@healthy
def bootstrap_your_own_latent() -> Case:
    """BYOL: a frozen target network that equals the online one, batch norms called on two views."""
    online = nn.Sequential(nn.Linear(32, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 16))
    target = nn.Sequential(nn.Linear(32, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 16)).requires_grad_(False)
    target.load_state_dict(online.state_dict())

    def run(m: Compute, a: Tensor, b: Tensor) -> Tensor:
        with torch.no_grad():
            goal = F.normalize(m.target(b), dim=-1)
        return (F.normalize(m.predict(m.online(a)), dim=-1) * goal).sum(-1)

    x = torch.randn(32, 32)
    model = Compute(run, online=online, target=target, predict=mlp(16, 48, 16))
    return Case(model, (x, x + 0.1 * torch.randn_like(x)), torch.zeros(1), lambda o, _: (2 - 2 * o).mean())


@healthy
def mixed_up_targets() -> Case:
    """Label smoothing and mixup: class probabilities as targets."""
    target = F.one_hot(classes(5, 16), 5).float() * 0.7 + 0.06
    model = nn.Sequential(conv(3, 8), nn.ReLU(), *pooled(8))
    return Case(model, images(16)[0], target, F.cross_entropy)
