// Constants of the transforms, printed by fit_coefficients.py; src/fanin/keys/_coefficients.py holds the same ones.
#pragma once

namespace fanin {

// -2 log(1+f) = f LOG(f) on [-1/2, 0), relative error 1.8e-7
constexpr float LOG[] = {-0x1.fffffap+0f, 0x1.00059ap+0f, -0x1.53a3d8p-1f, 0x1.18b79cp-1f,
                         -0x1.e14ed2p-5f, 0x1.9bcfdp+0f,  0x1.19a0b2p+1f,  0x1.30dedcp+1f};
// sin(pi/4 y) = y SIN(y^2) on |y| <= 1, relative error 2.8e-8
constexpr float SIN[] = {0x1.921fb6p-1f, -0x1.4abc22p-4f, 0x1.467f9ap-9f, -0x1.32e368p-15f};
// cos(pi/4 y) = 1 + y^2 COS(y^2) on |y| <= 1, relative error 3.9e-8
constexpr float COS[] = {-0x1.3bd39cp-2f, 0x1.03b05ep-6f, -0x1.4e7b34p-12f};
// |z| = P NARROW_ABOVE(x) / NARROW_BELOW(x) with P = P(|Z| < |z|) and x = 2 (1-P^2), |z| <= 2, relative error 7.2e-8
constexpr float NARROW_ABOVE[] = {0x1.8e2c3cp+1f, 0x1.073c7ep+6f, 0x1.7a3376p+7f, 0x1.72afa4p+6f, 0x1.0fcc74p+2f};
constexpr float NARROW_BELOW[] = {0x1p+0f, 0x1.cb78b2p+4f, 0x1.c410c6p+6f, 0x1.57f5f4p+6f, 0x1.3cb01cp+3f};
// |z| = P CENTRE(t-5) with t = -2 log(1-P^2) < 10, absolute error 3.8e-8
constexpr float CENTRE[] = {0x1.0fc8bcp+1f,   0x1.652c5cp-3f,   -0x1.8326cap-10f, -0x1.d06d46p-13f, 0x1.439128p-16f,
                            -0x1.d5ecdep-23f, -0x1.44e266p-24f, 0x1.5e353cp-28f,  0x1.e35e2cp-34f,  -0x1.91d50cp-36f};
// |z| = TAIL(sqrt(t)-4.75) for 10 <= t < 43.2, absolute error 1.1e-7
constexpr float TAIL[] = {0x1.210534p+2f,  0x1.01a5b2p+0f,  0x1.6a9b2p-9f,   -0x1.12c546p-10f, 0x1.133122p-12f,
                          -0x1.bc61fp-15f, 0x1.63708ap-18f, 0x1.25a044p-19f, -0x1.9a66aap-21f};
constexpr float CENTRE_AT = 5.0f, TAIL_AT = 4.75f;
constexpr float MINUS_2_LN2 = -0x1.62e43p+0f;

}  // namespace fanin
