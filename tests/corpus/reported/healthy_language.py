"""Healthy models of sequences, sets, graphs, tables and control."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import init

from ._base import Attention, Case, Compute, Residual, block, classes, fill, he, healthy, mlp, token_loss, tokens


@healthy
def post_norm_encoder() -> Case:
    """torch's own encoder layers, re-initialized after they were copied."""
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    for p in encoder.parameters():
        if p.dim() > 1:
            init.xavier_uniform_(p)
    table = nn.Embedding(200, 32, padding_idx=0)
    init.normal_(table.weight, 0, 32**-0.5)
    init.zeros_(table.weight[0])
    model = Compute(
        lambda m, i: m.head(m.encoder(m.table(i) * 32**0.5)), table=table, encoder=encoder, head=nn.Linear(32, 200)
    )
    inputs, target = tokens()
    inputs[:, -3:] = 0
    return Case(model, inputs, target, token_loss)


@healthy
def sequence_to_sequence() -> Case:
    """``nn.Transformer`` with sinusoids, source and target."""
    model = nn.Transformer(32, 4, 2, 2, 64, 0.0, batch_first=True)
    for p in model.parameters():
        if p.dim() > 1:
            init.xavier_uniform_(p)
    whole = Compute(
        lambda m, s, t: m.head(m.body(m.table(s), m.table(t), tgt_mask=m.body.generate_square_subsequent_mask(16))),
        table=nn.Embedding(200, 32), body=model, head=nn.Linear(32, 200),
    )  # fmt: skip
    source, target = tokens()
    return Case(whole, (source, target), target, token_loss)


@healthy
def transformer_xl() -> Case:
    """Relative positions, two learned biases that start at zero, a memory without gradient."""

    def run(m: Compute, i: Tensor) -> Tensor:
        x = m.table(i)
        for attention, norm, feed in zip(m.attention, m.norms, m.feed):
            x = norm(x + attention(x + m.u, torch.cat([m.memory.expand(len(x), -1, -1), x], 1)))
            x = feed(x)
        return m.head(x)

    model = Compute(
        run, table=nn.Embedding(100, 32), u=nn.Parameter(torch.zeros(32)), attention=[Attention(32) for _ in range(2)],
        norms=[nn.LayerNorm(32) for _ in range(2)],
        feed=[Residual(nn.LayerNorm(32), mlp(32, 64, 32)) for _ in range(2)], head=nn.Linear(32, 100),
    )  # fmt: skip
    model.register_buffer("memory", torch.randn(1, 8, 32))
    init.normal_(model.table.weight, 0, 0.02)
    inputs, target = tokens(100)
    return Case(model, inputs, target, token_loss)


@healthy
def perceiver() -> Case:
    """Sixteen latents of std .02 read a long input by cross-attention."""

    def run(m: Compute, x: Tensor) -> Tensor:
        z = m.latents.expand(len(x), -1, -1)
        z = z + m.cross(m.nq(z), m.nk(m.inp(x)))
        return m.head(m.body(z).mean(1))

    latents = nn.Parameter(torch.empty(1, 16, 32))
    init.trunc_normal_(latents, std=0.02)
    model = Compute(
        run, latents=latents, inp=nn.Linear(6, 32), nq=nn.LayerNorm(32), nk=nn.LayerNorm(32), cross=Attention(32),
        body=nn.Sequential(block(32), block(32)), head=nn.Linear(32, 4),
    )  # fmt: skip
    return Case(model, torch.randn(4, 100, 6), classes(4, 4))


@healthy
def diagonal_state_space() -> Case:
    """S4D: complex diagonal states, log step sizes over three decades, D of ones."""

    def run(m: Compute, x: Tensor) -> Tensor:
        dt = m.log_dt.exp()[:, None]
        a = torch.complex(-m.log_a_real.exp(), m.a_imag) * dt
        power = torch.exp(a[..., None] * torch.arange(x.shape[-1]))
        kernel = 2 * torch.einsum("hn,hnl->hl", torch.view_as_complex(m.C) * (torch.exp(a) - 1) / (a / dt), power).real
        n = 2 * x.shape[-1]
        y = torch.fft.irfft(torch.fft.rfft(x, n) * torch.fft.rfft(kernel, n), n)[..., : x.shape[-1]]
        return m.head(F.gelu(y + m.D[:, None] * x).mean(-1))

    h, n = 16, 8
    model = Compute(
        run, log_dt=nn.Parameter(torch.rand(h) * math.log(100) + math.log(1e-3)), C=nn.Parameter(torch.randn(h, n, 2)),
        log_a_real=nn.Parameter(torch.full((h, n), math.log(0.5))),
        a_imag=nn.Parameter(math.pi * torch.arange(n).float().repeat(h, 1)), D=nn.Parameter(torch.ones(h)),
        head=nn.Linear(h, 4),
    )  # fmt: skip
    return Case(model, torch.randn(8, h, 64), classes(4, 8))


@healthy
def gated_linear_recurrence() -> Case:
    """A log-uniform decay per channel, multiplicative gates, no softmax."""

    def run(m: Compute, x: Tensor) -> Tensor:
        decay, state, out = torch.exp(-torch.exp(m.log_decay)), x.new_zeros(len(x), 32), []
        keys, gates = m.k(x), torch.sigmoid(m.g(x))
        for t in range(x.shape[1]):
            state = decay * state + torch.sqrt(1 - decay**2) * keys[:, t]
            out.append(gates[:, t] * state)
        return m.head(m.norm(torch.stack(out, 1)).mean(1))

    decay = nn.Parameter(torch.log(-torch.log(torch.rand(32) * 0.099 + 0.9)))
    model = Compute(
        run, k=nn.Linear(8, 32), g=nn.Linear(8, 32), log_decay=decay, norm=nn.LayerNorm(32), head=nn.Linear(32, 2)
    )
    return Case(model, torch.randn(8, 20, 8), classes(2, 8))


@healthy
def wave_net() -> Case:
    """Dilated causal convolutions, tanh times sigmoid, skips summed."""

    def run(m: Compute, x: Tensor) -> Tensor:
        x, skips = m.inp(x), []
        for i, (gate, out) in enumerate(zip(m.gates, m.outs)):
            a, b = gate(F.pad(x, (2**i, 0))).chunk(2, 1)
            a, b = out(torch.tanh(a) * torch.sigmoid(b)).chunk(2, 1)
            x, skips = x + a, [*skips, b]
        return m.head(F.relu(torch.stack(skips).sum(0))).transpose(1, 2)

    model = Compute(
        run, inp=nn.Conv1d(1, 16, 1), gates=[nn.Conv1d(16, 32, 2, dilation=2**i) for i in range(5)],
        outs=[nn.Conv1d(16, 32, 1) for _ in range(5)], head=nn.Conv1d(16, 32, 1),
    )  # fmt: skip
    return Case(model, torch.rand(4, 1, 40) * 2 - 1, classes(32, 4, 40), token_loss)


@healthy
def temporal_convolutions_weight_normed() -> Case:
    """A TCN with ``weight_norm`` by hooks, initialized before it was applied."""

    def layer(i: int, d: int) -> nn.Module:
        conv = nn.Conv1d(i, 16, 3, padding=d, dilation=d)
        init.normal_(conv.weight, 0, math.sqrt(2 / (3 * i)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return nn.utils.weight_norm(conv)

    model = nn.Sequential(layer(4, 1), nn.ReLU(), layer(16, 2), nn.ReLU(), layer(16, 4), nn.ReLU(), nn.Flatten())
    model.append(nn.Linear(16 * 20, 3))
    return Case(model, torch.randn(8, 4, 20), classes(3, 8))


@healthy
def weight_norm_by_parametrization() -> Case:
    """The new ``parametrizations.weight_norm`` and ``orthogonal``."""
    a = nn.utils.parametrizations.weight_norm(nn.Linear(16, 32))
    b = nn.utils.parametrizations.orthogonal(nn.Linear(32, 32))
    return Case(nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), nn.Linear(32, 3)), torch.randn(16, 16), classes(3, 16))


@healthy
def lstm_chrono_bias() -> Case:
    """Forget biases log(U(1, T)), input biases their negatives."""
    rnn = nn.LSTM(8, 32, batch_first=True)
    with torch.no_grad():
        rnn.bias_ih_l0.zero_()
        rnn.bias_hh_l0.zero_()
        rnn.bias_hh_l0[32:64] = torch.log(torch.rand(32) * 98 + 1)
        rnn.bias_hh_l0[:32] = -rnn.bias_hh_l0[32:64]
    model = Compute(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=rnn, head=nn.Linear(32, 1))
    return Case(model, torch.randn(16, 30, 8), torch.randn(16, 1))


@healthy
def identity_recurrence() -> Case:
    """IRNN: ReLU, recurrent identity, inputs of std .001, zero biases."""
    rnn = nn.RNN(2, 40, nonlinearity="relu", batch_first=True)
    init.eye_(rnn.weight_hh_l0)
    init.normal_(rnn.weight_ih_l0, 0, 0.001)
    init.zeros_(rnn.bias_ih_l0)
    init.zeros_(rnn.bias_hh_l0)
    model = Compute(lambda m, x: m.head(m.rnn(x)[0][:, -1]), rnn=rnn, head=nn.Linear(40, 1))
    return Case(model, torch.rand(32, 30, 2), torch.randn(32, 1))


@healthy
def bidirectional_tagger() -> Case:
    """Two-layer bidirectional LSTM, packed sequences, padding ignored."""
    table = nn.Embedding(100, 16, padding_idx=0)

    def run(m: Compute, i: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(m.table(i), lengths, batch_first=True)
        return m.head(nn.utils.rnn.pad_packed_sequence(m.rnn(packed)[0], batch_first=True)[0])

    rnn = nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True)
    inputs, target = classes(99, 3, 10) + 1, classes(7, 3, 10)
    inputs[1, 7:], inputs[2, 4:], target[1, 7:], target[2, 4:] = 0, 0, -100, -100
    return Case(
        Compute(run, table=table, rnn=rnn, head=nn.Linear(48, 7)),
        (inputs, torch.tensor([10, 7, 4])),
        target,
        token_loss,
    )


@healthy
def speech_with_ctc() -> Case:
    """Convolutions, a GRU and CTC over 30 symbols."""

    def run(m: Compute, x: Tensor) -> Tensor:
        return m.head(m.rnn(F.relu(m.conv(x)).transpose(1, 2))[0]).log_softmax(-1)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        lengths = torch.full((len(target),), output.shape[1])
        return F.ctc_loss(output.transpose(0, 1), target, lengths, torch.full((len(target),), target.shape[1]))

    model = Compute(run, conv=nn.Conv1d(20, 32, 5, 2, 2), rnn=nn.GRU(32, 32, batch_first=True), head=nn.Linear(32, 30))
    return Case(model, torch.randn(4, 20, 60), torch.randint(1, 30, (4, 8)), loss)


@healthy
def deep_sets() -> Case:
    """A sum over set elements, scaled by the set's size."""
    model = Compute(lambda m, x: m.rho(m.phi(x).mean(1)), phi=mlp(3, 32, 32), rho=mlp(32, 32, 1))
    return Case(model, torch.randn(16, 20, 3), torch.randn(16, 1))


def _graph(nodes: int = 40) -> Tensor:
    adjacency = ((torch.rand(nodes, nodes) < 0.1).float() + torch.eye(nodes)).clamp(max=1)
    adjacency = torch.maximum(adjacency, adjacency.T)
    degree = adjacency.sum(1).rsqrt()
    return degree[:, None] * adjacency * degree


@healthy
def graph_convolution() -> Case:
    """Kipf and Welling's two layers, Glorot weights used as x @ W, sparse adjacency."""
    adjacency = _graph().to_sparse()

    def weight(i: int, o: int) -> nn.Parameter:
        return nn.Parameter(init.xavier_uniform_(torch.empty(i, o)))

    def run(m: Compute, x: Tensor) -> Tensor:
        h = F.relu(torch.sparse.mm(adjacency, x @ m.w1) + m.b1)
        return torch.sparse.mm(adjacency, h @ m.w2)

    model = Compute(run, w1=weight(50, 16), w2=weight(16, 7), b1=nn.Parameter(torch.zeros(16)))
    x = (torch.rand(40, 50) < 0.1).float()
    return Case(model, x / x.sum(1, keepdim=True).clamp(min=1), classes(7, 40))


@healthy
def graph_attention() -> Case:
    """GAT: additive attention with leaky ReLU, masked softmax over neighbours."""
    mask = _graph() == 0

    def run(m: Compute, x: Tensor) -> Tensor:
        h = m.W(x)
        scores = F.leaky_relu(m.source(h) + m.target(h).T, 0.2).masked_fill(mask, -1e9)
        return m.out(F.elu(scores.softmax(-1) @ h))

    model = Compute(
        run, W=nn.Linear(20, 16, bias=False), source=nn.Linear(16, 1, bias=False), target=nn.Linear(16, 1, bias=False),
        out=nn.Linear(16, 5),
    )  # fmt: skip
    fill(model, lambda w: init.xavier_uniform_(w, 1.414))
    return Case(model, torch.randn(40, 20), classes(5, 40))


@healthy
def wide_and_deep_table() -> Case:
    """Embeddings of categories beside standardized columns; rare positives, logits without a prior."""

    def run(m: Compute, categories: Tensor, numbers: Tensor) -> Tensor:
        codes = torch.cat([table(categories[:, i]) for i, table in enumerate(m.tables)], -1)
        return m.deep(torch.cat([codes, numbers], -1)) + m.wide(numbers)

    model = Compute(run, tables=[nn.Embedding(20, 4) for _ in range(3)], deep=mlp(18, 32, 1), wide=nn.Linear(6, 1))
    target = (torch.rand(256, 1) < 0.15).float()
    return Case(model, (classes(20, 256, 3), torch.randn(256, 6)), target, F.binary_cross_entropy_with_logits)


@healthy
def imbalanced_classes() -> Case:
    """Nine in ten samples of one class, default init."""
    target = torch.where(torch.rand(128) < 0.9, 0, 1)
    return Case(mlp(16, 32, 32, 2), torch.randn(128, 16), target)


@healthy
def deep_q_network() -> Case:
    """Atari convolutions over frames in [0, 1], values of one action trained."""
    model = nn.Sequential(nn.Conv2d(4, 16, 8, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten())
    model.extend([nn.Linear(32 * 9, 64), nn.ReLU(), nn.Linear(64, 4)])
    target = torch.stack([classes(4, 8).float(), torch.randn(8)], 1)

    def loss(q: Tensor, t: Tensor) -> Tensor:
        return F.smooth_l1_loss(q.gather(1, t[:, :1].long()).squeeze(1), t[:, 1])

    return Case(model, torch.rand(8, 4, 40, 40), target, loss)


@healthy
def soft_actor() -> Case:
    """SAC: clamped log std, tanh squashing, log-probability in the loss."""

    def run(m: Compute, s: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(m.trunk(s))
        mean, log_std = m.mean(h), m.log_std(h).clamp(-20, 2)
        raw = mean + log_std.exp() * torch.randn_like(mean)
        logp = -0.5 * ((raw - mean) / log_std.exp()) ** 2 - log_std - torch.log(1 - torch.tanh(raw) ** 2 + 1e-6)
        return torch.tanh(raw), logp.sum(-1)

    model = Compute(run, trunk=mlp(17, 64, 64), mean=nn.Linear(64, 6), log_std=nn.Linear(64, 6))
    q = torch.randn(6)
    return Case(model, torch.randn(64, 17), torch.zeros(64), lambda o, _: (0.2 * o[1] - o[0] @ q).mean())


@healthy
def proximal_policy() -> Case:
    """PPO: orthogonal sqrt 2, policy head .01, value head 1, tanh, a free log std."""

    def run(m: Compute, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return m.pi(s), m.log_std.expand(len(s), -1), m.value(s).squeeze(-1)

    def loss(output: tuple[Tensor, Tensor, Tensor], t: Tensor) -> Tensor:
        mean, log_std, value = output
        logp = (-0.5 * ((t[:, :3] - mean) / log_std.exp()) ** 2 - log_std).sum(-1)
        return -(logp * t[:, 3]).mean() + F.mse_loss(value, t[:, 4])

    pi, value = mlp(11, 64, 64, 3, act=nn.Tanh), mlp(11, 64, 64, 1, act=nn.Tanh)
    for net, gain in ((pi, 0.01), (value, 1.0)):
        fill(net, lambda w: init.orthogonal_(w, math.sqrt(2)))
        init.orthogonal_(net[-1].weight, gain)
    return Case(
        Compute(run, pi=pi, value=value, log_std=nn.Parameter(torch.zeros(3))),
        torch.randn(64, 11),
        torch.randn(64, 5),
        loss,
    )


@healthy
def target_network_copy() -> Case:
    """A frozen copy of the critic beside the critic: equal on purpose."""
    critic, target = mlp(12, 32, 1), mlp(12, 32, 1).requires_grad_(False)
    target.load_state_dict(critic.state_dict())

    def run(m: Compute, x: Tensor) -> Tensor:
        with torch.no_grad():
            goal = m.target(x)
        return (m.critic(x) - 0.9 * goal - m.reward).pow(2).mean()

    model = Compute(run, critic=critic, target=target)
    model.register_buffer("reward", torch.randn(64, 1))
    return Case(model, torch.randn(64, 12), torch.zeros(()), lambda o, _: o)


@healthy
def mixture_density() -> Case:
    """Five Gaussians: softmax weights, means, exponential scales."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        logits, mean, log_std = output.chunk(3, -1)
        logp = -0.5 * ((y - mean) / log_std.exp()) ** 2 - log_std
        return -torch.logsumexp(logits.log_softmax(-1) + logp, -1).mean()

    return Case(mlp(1, 32, 32, 15, act=nn.Tanh), torch.rand(64, 1) * 2 - 1, torch.randn(64, 1), loss)


@healthy
def quantile_regression() -> Case:
    """Three quantiles by the pinball loss."""
    levels = torch.tensor([0.1, 0.5, 0.9])

    def loss(output: Tensor, y: Tensor) -> Tensor:
        gap = y - output
        return torch.maximum(levels * gap, (levels - 1) * gap).mean()

    return Case(mlp(8, 32, 32, 3), torch.randn(128, 8), torch.randn(128, 1), loss)


@healthy
def two_tasks() -> Case:
    """A classifier and a regressor on one trunk, dict output."""

    def loss(output: dict[str, Tensor], t: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(output["kind"], t["kind"]) + 0.5 * F.mse_loss(output["size"], t["size"])

    model = Compute(
        lambda m, x: {"kind": m.kind(F.relu(m.trunk(x))), "size": m.size(F.relu(m.trunk(x)))},
        trunk=mlp(16, 32, 32), kind=nn.Linear(32, 4), size=nn.Linear(32, 2),
    )  # fmt: skip
    return Case(model, torch.randn(32, 16), {"kind": classes(4, 32), "size": torch.randn(32, 2)}, loss)


@healthy
def modern_hopfield() -> Case:
    """Retrieval from stored patterns by softmax with beta 8 over unit vectors."""

    def run(m: Compute, x: Tensor) -> Tensor:
        q = F.normalize(m.query(x), dim=-1)
        for _ in range(2):
            q = F.normalize((8 * q @ F.normalize(m.patterns, dim=-1).T).softmax(-1) @ m.patterns, dim=-1)
        return m.head(q)

    model = Compute(run, query=nn.Linear(16, 32), patterns=nn.Parameter(torch.randn(24, 32)), head=nn.Linear(32, 5))
    return Case(model, torch.randn(32, 16), classes(5, 32))


@healthy
def sparse_experts() -> Case:
    """Top-2 of eight experts, router std .02, unused experts in a small batch."""
    router = nn.Linear(32, 8, bias=False)
    init.normal_(router.weight, 0, 0.02)

    def run(m: Compute, x: Tensor) -> Tensor:
        gates, chosen = m.router(x).softmax(-1).topk(2, -1)
        gates = gates / gates.sum(-1, keepdim=True)
        y = torch.zeros_like(x)
        for e, expert in enumerate(m.experts):
            rows, slot = torch.where(chosen == e)
            if len(rows):
                y = y.index_add(0, rows, expert(x[rows]) * gates[rows, slot, None])
        return m.head(m.norm(x + y))

    experts = [mlp(32, 64, 32, act=nn.SiLU) for _ in range(8)]
    model = Compute(run, router=router, experts=experts, norm=nn.LayerNorm(32), head=nn.Linear(32, 6))
    return Case(model, torch.randn(12, 32), classes(6, 12))


@healthy
def grouped_query_llama_in_bfloat16() -> Case:
    """RMS norms, rotary positions, SwiGLU, fewer keys than queries, bfloat16."""

    class RMSNorm(nn.Module):
        def __init__(self, d: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(d))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight * x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5).to(x.dtype)

    def rotate(x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[-2])[:, None] * 10000 ** (-torch.arange(4) / 4)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.n1, self.n2 = RMSNorm(32), RMSNorm(32)
            self.q, self.k, self.v, self.o = (nn.Linear(32, o, bias=False) for o in (32, 16, 16, 32))
            self.gate, self.up, self.down = (nn.Linear(i, o, bias=False) for i, o in ((32, 80), (32, 80), (80, 32)))

        def forward(self, x: Tensor) -> Tensor:
            h = self.n1(x)
            q, k, v = (f(h).unflatten(-1, (-1, 8)).transpose(1, 2) for f in (self.q, self.k, self.v))
            k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
            y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + self.o(y.transpose(1, 2).flatten(2))
            h = self.n2(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    model = nn.Sequential(nn.Embedding(200, 32), Layer(), Layer(), RMSNorm(32), nn.Linear(32, 200, bias=False))
    for m in model.modules():
        if isinstance(m, (nn.Linear, nn.Embedding)):
            init.normal_(m.weight, 0, 0.02)
    inputs, target = tokens()
    return Case(model.bfloat16(), inputs, target, token_loss)


@healthy
def tied_head_with_scaled_embedding() -> Case:
    """T5 and Gemma: N(0, 1) table tied to the head, logits divided by sqrt(d)."""
    table = nn.Embedding(200, 64)
    model = Compute(
        lambda m, i: F.linear(m.norm(m.layer(m.table(i))) * 64**-0.5, m.table.weight),
        table=table, layer=block(64, causal=True), norm=nn.LayerNorm(64),
    )  # fmt: skip
    inputs, target = tokens()
    return Case(model, inputs, target, token_loss)


@healthy
def uniform_seq2seq_without_norm() -> Case:
    """Sutskever's U(-.08, .08) at width 1000, here U(-.4, .4), for all of an LSTM translator: no norm to spoil."""
    model = Compute(
        lambda m, s, t: m.head(m.decoder(m.table(t), m.encoder(m.table(s))[1])[0]),
        table=nn.Embedding(100, 32), encoder=nn.LSTM(32, 32, 2, batch_first=True),
        decoder=nn.LSTM(32, 32, 2, batch_first=True), head=nn.Linear(32, 100),
    )  # fmt: skip
    for p in model.parameters():
        init.uniform_(p, -0.4, 0.4)
    source, target = tokens(100)
    return Case(model, (source, target), target, token_loss)


@healthy
def skip_gram() -> Case:
    """word2vec: U(±1/2d) centres, zero contexts, negative sampling."""
    centre, context = nn.Embedding(100, 16), nn.Embedding(100, 16)
    init.uniform_(centre.weight, -0.5 / 16, 0.5 / 16)
    init.zeros_(context.weight)
    model = Compute(lambda m, c, o: (m.centre(c)[:, None] * m.context(o)).sum(-1), centre=centre, context=context)
    target = torch.cat([torch.ones(64, 1), torch.zeros(64, 5)], 1)
    return Case(model, (classes(100, 64), classes(100, 64, 6)), target, F.binary_cross_entropy_with_logits)


@healthy
def adapters_on_frozen_layers() -> Case:
    """Bottleneck adapters with a zero up-projection inside a frozen encoder."""
    body = [block(32).requires_grad_(False) for _ in range(2)]
    adapters = [Residual(nn.Linear(32, 4), nn.GELU(), nn.Linear(4, 32)) for _ in range(2)]
    for adapter in adapters:
        init.zeros_(adapter.branch[2].weight)
        init.zeros_(adapter.branch[2].bias)

    def run(m: Compute, x: Tensor) -> Tensor:
        for layer, adapter in zip(m.body, m.adapters):
            x = adapter(layer(x))
        return m.head(x.mean(1))

    return Case(
        Compute(run, body=body, adapters=adapters, head=nn.Linear(32, 3)), torch.randn(8, 10, 32), classes(3, 8)
    )


@healthy
def soft_prompt_on_frozen_model() -> Case:
    """Prompt vectors copied from the vocabulary, everything else frozen."""
    table = nn.Embedding(100, 32)
    body, head = nn.Sequential(block(32), nn.LayerNorm(32)), nn.Linear(32, 100)
    prompt = nn.Parameter(table.weight[:8].detach().clone())
    model = Compute(
        lambda m, i: m.head(m.body(torch.cat([m.prompt.expand(len(i), -1, -1), m.table(i)], 1))[:, 8:]),
        table=table, body=body, head=head, prompt=prompt,
    )  # fmt: skip
    for part in (table, body, head):
        part.requires_grad_(False)
    inputs, target = tokens(100)
    return Case(model, inputs, target, token_loss)


@healthy
def double_precision_physics() -> Case:
    """A PINN: float64, derivative of the output with respect to the input inside the forward pass."""

    def run(m: Compute, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        u = m.net(x)
        return torch.autograd.grad(u.sum(), x, create_graph=True)[0] + u

    model = fill(Compute(run, net=mlp(1, 32, 32, 1, act=nn.Tanh)), init.xavier_normal_).double()
    x = torch.rand(64, 1, dtype=torch.float64) * 2 - 1
    return Case(model, x, torch.sin(3 * x))


@healthy
def logistic_regression() -> Case:
    """One zero linear layer: convex, nothing to break."""
    model = nn.Linear(20, 3)
    init.zeros_(model.weight)
    init.zeros_(model.bias)
    return Case(model, torch.randn(256, 20), classes(3, 256))


@healthy
def echo_state() -> Case:
    """A frozen random reservoir of spectral radius .9, trained read-out."""
    rnn = nn.RNN(2, 64, batch_first=True).requires_grad_(False)
    with torch.no_grad():
        w = torch.randn(64, 64) * (torch.rand(64, 64) < 0.1)
        rnn.weight_hh_l0.copy_(w * 0.9 / torch.linalg.eigvals(w).abs().max())
    return Case(
        Compute(lambda m, x: m.out(m.rnn(x)[0]), rnn=rnn, out=nn.Linear(64, 1)),
        torch.randn(8, 30, 2),
        torch.randn(8, 30, 1),
    )


@healthy
def he_autoencoder_wide() -> Case:
    """Plain He through a bottleneck of four, batch of 256."""
    x = torch.randn(256, 20) @ torch.randn(20, 20) / 20**0.5
    return Case(he(mlp(20, 64, 4, 64, 20)), x, x)


@healthy
def upcycled_experts() -> Case:
    """Sparse upcycling: every expert starts as the trained dense layer, on purpose; the router tells them apart."""
    dense = he(mlp(32, 64, 32))
    experts = [he(mlp(32, 64, 32)) for _ in range(4)]
    for expert in experts:
        expert.load_state_dict(dense.state_dict())

    def run(m: Compute, x: Tensor) -> Tensor:
        gate, chosen = m.router(x).softmax(-1).max(-1)
        y = torch.stack([e(x) for e in m.experts], 1)[torch.arange(len(x)), chosen]
        return m.head(x + y * gate[:, None])

    model = Compute(run, router=nn.Linear(32, 4, bias=False), experts=experts, head=nn.Linear(32, 5))
    return Case(model, torch.randn(64, 32), classes(5, 64))


@healthy
def receptance_weighted_values() -> Case:
    """RWKV: output, receptance and key matrices start at zero, decays are spread over channels."""

    def run(m: Compute, i: Tensor) -> Tensor:
        x = m.table(i)
        h = m.norm(x)
        past = F.pad(h, (0, 0, 1, -1))
        mixed = h * m.mix + past * (1 - m.mix)
        k, v, r = m.k(mixed), m.v(mixed), torch.sigmoid(m.r(mixed))
        decay, a, b, out = -torch.exp(m.decay), 0.0, 0.0, []
        for t in range(i.shape[1]):
            e = torch.exp(k[:, t])
            out.append((a + torch.exp(m.first) * e * v[:, t]) / (b + torch.exp(m.first) * e))
            a, b = torch.exp(decay) * a + e * v[:, t], torch.exp(decay) * b + e
        return m.head(m.last(x + m.o(r * torch.stack(out, 1))))

    model = Compute(
        run, table=nn.Embedding(100, 24), norm=nn.LayerNorm(24), mix=nn.Parameter(torch.arange(24) / 24),
        k=nn.Linear(24, 24, bias=False), v=nn.Linear(24, 24, bias=False), r=nn.Linear(24, 24, bias=False),
        o=nn.Linear(24, 24, bias=False), decay=nn.Parameter(-6 + 9 * (torch.arange(24) / 23) ** 0.7),
        first=nn.Parameter(torch.full((24,), math.log(0.3))), last=nn.LayerNorm(24),
        head=nn.Linear(24, 100, bias=False),
    )  # fmt: skip
    init.uniform_(model.table.weight, -1e-4, 1e-4)
    for layer in (model.k, model.r, model.o):
        init.zeros_(layer.weight)
    inputs, target = tokens(100)
    return Case(model, inputs, target, token_loss)


@healthy
def relative_bias_and_tied_translation() -> Case:
    """T5-like: zero relative biases, unscaled scores with queries drawn by (d d_k)^-1/2, one table for all."""
    table = nn.Embedding(100, 32)
    init.normal_(table.weight, 0, 32**-0.5)
    q, k, v, o = (nn.Linear(32, 32, bias=False) for _ in range(4))
    init.normal_(q.weight, 0, (32 * 8) ** -0.5)
    for layer in (k, v, o):
        init.normal_(layer.weight, 0, 32**-0.5)

    def run(m: Compute, i: Tensor) -> Tensor:
        x = m.table(i) * 32**0.5
        h = m.norm(x)
        a, b, c = (f(h).unflatten(-1, (4, 8)).transpose(1, 2) for f in (m.q, m.k, m.v))
        scores = a @ b.mT + m.bias[:, torch.arange(16)[:, None] - torch.arange(16) + 15]
        return m.last(x + m.o((scores.softmax(-1) @ c).transpose(1, 2).flatten(2))) @ m.table.weight.T * 32**-0.5

    model = Compute(
        run, table=table, norm=nn.LayerNorm(32), q=q, k=k, v=v, o=o, bias=nn.Parameter(torch.zeros(4, 31)),
        last=nn.LayerNorm(32),
    )  # fmt: skip
    inputs, target = tokens(100)
    return Case(model, inputs, target, token_loss)
