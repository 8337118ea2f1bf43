// 4 elements at a time on 64-bit Arm, where NEON always has fused multiply-add and square root.
#include "kernel.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#include "convert.h"

namespace fanin {
namespace {

struct Neon {
  static constexpr int WIDTH = 4, REGISTERS = 32;
  using F = float32x4_t;
  using I = uint32x4_t;
  using H = uint64x2_t;
  using M = uint32x4_t;

  static inline H wide(uint64_t value) { return vdupq_n_u64(value); }
  static inline H even() { return vcombine_u64(vcreate_u64(0), vcreate_u64(2)); }
  static inline H odd() { return vcombine_u64(vcreate_u64(1), vcreate_u64(3)); }
  static inline H add_wide(H a, H b) { return vaddq_u64(a, b); }
  static inline H mul_wide(H a, H b) { return vmull_u32(vmovn_u64(a), vmovn_u64(b)); }
  static inline H high_half(H a) { return vshrq_n_u64(a, 32); }
  static inline H xor_wide(H a, H b) { return veorq_u64(a, b); }
  static inline H xor3_wide(H a, H b, H c) { return veorq_u64(veorq_u64(a, b), c); }
  static inline I merge(H even, H odd) { return vtrn1q_u32(vreinterpretq_u32_u64(even), vreinterpretq_u32_u64(odd)); }

  static inline F set(float value) { return vdupq_n_f32(value); }
  static inline F mul(F a, F b) { return vmulq_f32(a, b); }
  static inline F div(F a, F b) { return vdivq_f32(a, b); }
  static inline F add(F a, F b) { return vaddq_f32(a, b); }
  static inline F sub(F a, F b) { return vsubq_f32(a, b); }
  static inline F fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
  static inline F sqrt(F a) { return vsqrtq_f32(a); }
  static inline F min(F a, F b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static inline F max(F a, F b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static inline F from_int(I a) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a)); }
  static inline F from_unsigned(I a) { return vcvtq_f32_u32(a); }
  static inline I bits(F a) { return vreinterpretq_u32_f32(a); }
  static inline F as_float(I a) { return vreinterpretq_f32_u32(a); }

  static inline F exponent(F a) {
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(vshrq_n_u32(bits(a), 23)), vdupq_n_s32(127)));
  }
  static inline F mantissa(F a) { return as_float(low_23_or(bits(a), 0x3F000000)); }

  static inline I set_int(uint32_t value) { return vdupq_n_u32(value); }
  static inline I and_int(I a, I b) { return vandq_u32(a, b); }
  static inline I low_23_or(I a, uint32_t high) { return vorrq_u32(and_int(a, set_int(0x7FFFFF)), set_int(high)); }
  static inline I flip_magnitude(I a) {
    const I sign = vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(a), 31));
    return veorq_u32(veorq_u32(a, sign), set_int(0x7FFFFFFF));
  }

  static inline M bit30(I a) { return vtstq_u32(a, vdupq_n_u32(0x40000000)); }
  static inline M at_least(F a, F b) { return vcgeq_f32(a, b); }
  static inline bool any(M mask) { return vmaxvq_u32(mask) != 0; }
  static inline F choose(M mask, F yes, F no) { return vbslq_f32(mask, yes, no); }
  static inline F flip_sign(F a, I b) {
    return as_float(veorq_u32(bits(a), vandq_u32(b, vdupq_n_u32(0x80000000))));
  }

  static inline void store(char* out, F value) { std::memcpy(out, &value, 16); }
  static inline void stream(char* out, F value) { store(out, value); }
  static inline void store_float64(char* out, F value) {
    float64x2_t halves[2] = {vcvt_f64_f32(vget_low_f32(value)), vcvt_high_f64_f32(value)};
    std::memcpy(out, halves, 32);
  }
  static inline void store_float16(char* out, F value) {
    float16x4_t half = vcvt_f16_f32(value);
    std::memcpy(out, &half, 8);
  }
  static inline void store_bfloat16(char* out, F value) {
    const I even = vandq_u32(vshrq_n_u32(bits(value), 16), vdupq_n_u32(1));
    uint16x4_t half = vshrn_n_u32(vaddq_u32(vaddq_u32(bits(value), vdupq_n_u32(0x7FFF)), even), 16);
    std::memcpy(out, &half, 8);
  }
  static inline void fence() {}
};

}  // namespace

Fill neon_fill() { return fill<Neon>; }

}  // namespace fanin
#else
namespace fanin {
Fill neon_fill() { return nullptr; }
}  // namespace fanin
#endif
