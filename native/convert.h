// float32 to the 16-bit formats, one value at a time, rounding to nearest even.
#pragma once

#include <cstdint>
#include <cstring>

namespace fanin {

static inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}

static inline float float_of(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// Finite values and infinities.
static inline uint16_t to_bfloat16(float value) {
  uint32_t bits = bits_of(value);
  return uint16_t((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

static inline uint16_t to_float16(float value) {
  const uint32_t bits = bits_of(value), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude >= 0x47800000) return uint16_t(sign | (magnitude > 0x7F800000 ? 0x7E00 : 0x7C00));
  if (magnitude < 0x38800000) {  // subnormal: adding 0.5 rounds to a multiple of 2^-24
    return uint16_t(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3F000000));
  }
  return uint16_t(sign | ((magnitude - 0x38000000 + 0xFFF + ((magnitude >> 13) & 1)) >> 13));
}

static inline float from_bfloat16(uint16_t half) { return float_of(uint32_t(half) << 16); }

static inline float from_float16(uint16_t half) {
  const uint32_t sign = uint32_t(half & 0x8000) << 16, magnitude = half & 0x7FFF;
  if (magnitude >= 0x7C00) return float_of(sign | 0x7F800000 | (magnitude << 13));
  if (magnitude < 0x0400) {
    float value = float(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return float_of(sign | ((magnitude << 13) + 0x38000000));
}

}  // namespace fanin
