// One element at a time, in portable C++: the backend of processors without the vector units below it.
#include <cmath>

#include "convert.h"
#include "kernel.h"

namespace fanin {
namespace {

struct Scalar {
  static constexpr int WIDTH = 1, REGISTERS = 16;
  using F = float;
  using I = uint32_t;
  using H = uint64_t;
  using M = bool;

  static inline H wide(uint64_t value) { return value; }
  static inline H even() { return 0; }
  static inline H odd() { return 0; }
  static inline H add_wide(H a, H b) { return a + b; }
  static inline H mul_wide(H a, H b) { return (a & 0xFFFFFFFF) * (b & 0xFFFFFFFF); }
  static inline H high_half(H a) { return a >> 32; }
  static inline H xor_wide(H a, H b) { return a ^ b; }
  static inline H xor3_wide(H a, H b, H c) { return a ^ b ^ c; }
  static inline I merge(H even, H) { return uint32_t(even); }

  static inline F set(float value) { return value; }
  static inline F mul(F a, F b) { return a * b; }
  static inline F div(F a, F b) { return a / b; }
  static inline F add(F a, F b) { return a + b; }
  static inline F sub(F a, F b) { return a - b; }
  static inline F fma(F a, F b, F c) { return std::fma(a, b, c); }
  static inline F sqrt(F a) { return std::sqrt(a); }
  // Where both are zeros, the second one, whatever its sign.
  static inline F min(F a, F b) { return a < b ? a : b; }
  static inline F max(F a, F b) { return a > b ? a : b; }
  static inline F from_int(I a) { return float(int32_t(a)); }
  static inline F from_unsigned(I a) { return float(a); }
  static inline F as_float(I a) { return float_of(a); }
  // For a positive normal a = 2^exponent (2 mantissa), with the mantissa in [1/2, 1).
  static inline F exponent(F a) { return float(int32_t(bits_of(a) >> 23) - 127); }
  static inline F mantissa(F a) { return float_of((bits_of(a) & 0x7FFFFF) | 0x3F000000); }

  static inline I set_int(uint32_t value) { return value; }
  static inline I and_int(I a, I b) { return a & b; }
  static inline I low_23_or(I a, uint32_t high) { return (a & 0x7FFFFF) | high; }
  // 2^31 - 1 - a for a signed a >= 0, 2^31 + a below.
  static inline I flip_magnitude(I a) { return a ^ uint32_t(int32_t(a) >> 31) ^ 0x7FFFFFFF; }

  static inline M bit30(I a) { return (a >> 30) & 1; }
  static inline M at_least(F a, F b) { return a >= b; }
  static inline bool any(M mask) { return mask; }
  static inline F choose(M mask, F yes, F no) { return mask ? yes : no; }
  static inline F flip_sign(F a, I b) { return float_of(bits_of(a) ^ (b & 0x80000000)); }

  static inline void store(char* out, F value) { std::memcpy(out, &value, 4); }
  static inline void stream(char* out, F value) { store(out, value); }
  static inline void store_float64(char* out, F value) {
    double wide = value;
    std::memcpy(out, &wide, 8);
  }
  static inline void store_float16(char* out, F value) {
    uint16_t half = to_float16(value);
    std::memcpy(out, &half, 2);
  }
  static inline void store_bfloat16(char* out, F value) {
    uint16_t half = to_bfloat16(value);
    std::memcpy(out, &half, 2);
  }
  static inline void fence() {}
};

}  // namespace

Fill scalar_fill() { return fill<Scalar>; }

}  // namespace fanin
