"""Building a 1.2-billion-parameter Llama-shaped model from its config, with and without ``fanin.fast``.

Prints seconds of each pair and the median of their ratios; needs 8 GB of memory and the ``transformers`` package.
"""

from __future__ import annotations

import gc
import statistics
import time

import torch

import fanin


def build(scale: float = 1.0) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=int(128256 * scale),
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=max(1, int(16 * scale)),
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def once(fast: bool, scale: float) -> tuple[float, int]:
    gc.collect()
    begin = time.perf_counter()
    if fast:
        with fanin.fast(seed=0):
            model = build(scale)
    else:
        model = build(scale)
    seconds = time.perf_counter() - begin
    return seconds, sum(p.numel() for p in model.parameters())


def main(pairs: int = 3, scale: float = 1.0) -> None:
    build(0.07)  # imports and first-use costs, outside the measurement
    ratios = []
    for _ in range(pairs):
        plain, count = once(False, scale)
        quick, _ = once(True, scale)
        ratios.append(plain / quick)
        print(f"{count / 1e9:.2f} B parameters: plain {plain:6.2f} s   fast {quick:6.2f} s   ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} over {pairs} interleaved pairs")


if __name__ == "__main__":
    main()
