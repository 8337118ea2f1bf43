"""Constants of the transforms; native/coefficients.h holds the same ones, native/fit_coefficients.py prints them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "CENTRE",
    "CENTRE_AT",
    "COS",
    "LOG",
    "MINUS_2_LN2",
    "NARROW_ABOVE",
    "NARROW_BELOW",
    "SIN",
    "TAIL",
    "TAIL_AT",
]


def _table(text: str) -> npt.NDArray[np.float32]:
    return np.array([float.fromhex(entry) for entry in text.split()], np.float32)


# -2 log(1+f) = f LOG(f) on [-1/2, 0), relative error 1.8e-7
LOG = _table(
    "-0x1.fffffap+0 0x1.00059ap+0 -0x1.53a3d8p-1 0x1.18b79cp-1 -0x1.e14ed2p-5 0x1.9bcfdp+0 0x1.19a0b2p+1 0x1.30dedcp+1"
)
# sin(pi/4 y) = y SIN(y^2) on |y| <= 1, relative error 2.8e-8
SIN = _table("0x1.921fb6p-1 -0x1.4abc22p-4 0x1.467f9ap-9 -0x1.32e368p-15")
# cos(pi/4 y) = 1 + y^2 COS(y^2) on |y| <= 1, relative error 3.9e-8
COS = _table("-0x1.3bd39cp-2 0x1.03b05ep-6 -0x1.4e7b34p-12")
# |z| = P NARROW_ABOVE(x) / NARROW_BELOW(x) with P = P(|Z| < |z|) and x = 2 (1-P^2), |z| <= 2, relative error 7.2e-8
NARROW_ABOVE = _table("0x1.8e2c3cp+1 0x1.073c7ep+6 0x1.7a3376p+7 0x1.72afa4p+6 0x1.0fcc74p+2")
NARROW_BELOW = _table("0x1p+0 0x1.cb78b2p+4 0x1.c410c6p+6 0x1.57f5f4p+6 0x1.3cb01cp+3")
# |z| = P CENTRE(t-5) with t = -2 log(1-P^2) < 10, absolute error 3.8e-8
CENTRE = _table(
    "0x1.0fc8bcp+1 0x1.652c5cp-3 -0x1.8326cap-10 -0x1.d06d46p-13 0x1.439128p-16 -0x1.d5ecdep-23 -0x1.44e266p-24 "
    "0x1.5e353cp-28 0x1.e35e2cp-34 -0x1.91d50cp-36"
)
# |z| = TAIL(sqrt(t)-4.75) for 10 <= t < 43.2, absolute error 1.1e-7
TAIL = _table(
    "0x1.210534p+2 0x1.01a5b2p+0 0x1.6a9b2p-9 -0x1.12c546p-10 0x1.133122p-12 -0x1.bc61fp-15 0x1.63708ap-18 "
    "0x1.25a044p-19 -0x1.9a66aap-21"
)
CENTRE_AT, TAIL_AT = np.float32(5.0), np.float32(4.75)
MINUS_2_LN2 = np.float32(-2 * 0.6931471805599453)
