"""Key: the address of a random stream."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fanin.errors import InputError

__all__ = ["Key"]


@dataclass(frozen=True)
class Key:
    """The stream of one parameter: 64 bits hashed from (seed, name).

    Args:
        seed: integer in [0, 2^64).
        name: canonical parameter name; any text, "" is a name too.

    Example:
        >>> Key(0, "layer.weight") == Key(0, "layer.weight")
        True
        >>> Key(0, "layer.weight").words == Key(0, "layer.bias").words
        False

    Source: the hash is BLAKE2b (Aumasson et al., 2013), so that neighbouring seeds and names give unrelated keys.
    """

    seed: int
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 64:
            raise InputError.of("seed", self.seed, "an integer in [0, 2**64)")
        if not isinstance(self.name, str):
            raise InputError.of("name", self.name, "a string")

    @property
    def number(self) -> int:
        """Both words of the Philox key as one 64-bit integer, the first word in the low half."""
        message = self.seed.to_bytes(8, "little") + self.name.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(message, digest_size=8, person=b"fanin.key").digest(), "little")

    @property
    def words(self) -> tuple[int, int]:
        """The two 32-bit words of the Philox key."""
        number = self.number
        return number & 0xFFFFFFFF, number >> 32

    def child(self, label: str) -> Key:
        """An independent stream under this one, for initializers that draw several tensors."""
        return Key(self.seed, f"{self.name}\x1f{label}")
