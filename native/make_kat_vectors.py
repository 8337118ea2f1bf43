"""Print kat_vectors.txt: known answers that every backend must give, from the readable reference.

    python native/make_kat_vectors.py > native/kat_vectors.txt

The Philox lines are those of Random123 1.14 (kat_vectors, philox4x32 10) and are not computed here.
"""

from __future__ import annotations

import numpy as np

from fanin.keys import Key, Law, sample
from fanin.keys._plan import plan

HEAD = """\
# Known answers. Every backend must reproduce every line bit for bit.
#
# philox4x32 rounds  counter[4]  key[2]  answer[4]                              32-bit words in hexadecimal
#   Source: Random123 1.14, kat_vectors (Salmon, Moraes, Dror & Shaw, 2011).
philox4x32 10  00000000 00000000 00000000 00000000  00000000 00000000  6627e8d5 e169c58d bc57ac4c 9b00dbd8
philox4x32 10  ffffffff ffffffff ffffffff ffffffff  ffffffff ffffffff  408f276d 41c83b0e a20bc7c6 6d5451fd
philox4x32 10  243f6a88 85a308d3 13198a2e 03707344  a4093822 299f31d0  d16cfe09 94fdcceb 5001e420 24126ea1
#
# fill  kind location scale bound  seed name  key[2]  clip reach location scale low high step inside outside
#       start dtype count  digest  first four values
#   The law and the key as a user gives them, then what the kernel is given: the key's words, two choices and the
#   float32 numbers of the law as bits. The digest is FNV-1a (64 bits) over the bytes of all `count` values.
#   Source: the reference, src/fanin/keys/_transforms.py, printed by make_kat_vectors.py.
"""
LAWS = (
    Law("uniform", 0.0, 1.0),
    Law("uniform", -0.1, 0.2),
    Law("uniform", 1.0, 1e-3),
    Law("normal", 0.0, 1.0),
    Law("normal", 0.25, 0.02),
    Law("truncated_normal", 0.0, 1.0, 2.0),
    Law("truncated_normal", 0.0, 0.05, 0.1),
    Law("truncated_normal", 0.0, 0.02, 2.5),
    Law("truncated_normal", -1.0, 3.0, 8.0),
)
PLACES = ((0, 1000), (37, 500), (2**34 - 77, 300), (2**62 + 12345, 64))
NUMBERS = ("location", "scale", "low", "high", "step", "inside", "outside")


def fnv1a(data: bytes) -> int:
    """Fowler, Noll & Vo's hash, 64 bits."""
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def line(law: Law, key: Key, start: int, dtype: str, count: int) -> str:
    """One line of the table."""
    values = sample(law, key, count, start=start, dtype=dtype, using="reference")
    bits = values.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[values.itemsize])
    numbers = plan(law)
    low, high = key.words
    plan_bits = " ".join(f"{np.float32(getattr(numbers, name)).view(np.uint32):08x}" for name in NUMBERS)
    first = " ".join(f"{int(word):0{2 * values.itemsize}x}" for word in bits[:4])
    digest = f"{fnv1a(values.tobytes()):016x}"
    return (
        f"fill {law.kind} {law.location!r} {law.scale!r} {law.bound!r}  {key.seed} {key.name}  {low:08x} {high:08x}  "
        f"{int(numbers.clip)} {int(numbers.reach)} {plan_bits}  {start} {dtype} {count}  {digest}  {first}"
    )


def main() -> None:
    """Print the table."""
    print(HEAD, end="")
    for number, law in enumerate(LAWS):
        for start, count in PLACES:
            print(line(law, Key(number, "layer.weight"), start, "float32", count))
        for dtype in ("float64", "float16", "bfloat16"):
            print(line(law, Key(number, "layer.weight"), 5, dtype, 200))


if __name__ == "__main__":
    main()
