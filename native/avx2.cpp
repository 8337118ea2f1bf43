// 8 elements at a time; compiled with AVX2, FMA and F16C.
#include "kernel.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

namespace fanin {
namespace {

struct Avx2 {
  static constexpr int WIDTH = 8, REGISTERS = 16;
  using F = __m256;
  using I = __m256i;
  using H = __m256i;
  using M = __m256;

  static inline H wide(uint64_t value) { return _mm256_set1_epi64x(int64_t(value)); }
  static inline H even() { return _mm256_setr_epi64x(0, 2, 4, 6); }
  static inline H odd() { return _mm256_setr_epi64x(1, 3, 5, 7); }
  static inline H add_wide(H a, H b) { return _mm256_add_epi64(a, b); }
  static inline H mul_wide(H a, H b) { return _mm256_mul_epu32(a, b); }
  static inline H high_half(H a) { return _mm256_srli_epi64(a, 32); }
  static inline H xor_wide(H a, H b) { return _mm256_xor_si256(a, b); }
  static inline H xor3_wide(H a, H b, H c) { return _mm256_xor_si256(_mm256_xor_si256(a, b), c); }
  static inline I merge(H even, H odd) { return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA); }

  static inline F set(float value) { return _mm256_set1_ps(value); }
  static inline F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static inline F div(F a, F b) { return _mm256_div_ps(a, b); }
  static inline F add(F a, F b) { return _mm256_add_ps(a, b); }
  static inline F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static inline F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static inline F sqrt(F a) { return _mm256_sqrt_ps(a); }
  static inline F min(F a, F b) { return _mm256_min_ps(a, b); }
  static inline F max(F a, F b) { return _mm256_max_ps(a, b); }
  static inline F from_int(I a) { return _mm256_cvtepi32_ps(a); }
  // Both halves are exact in float32, so the one rounding is that of the fma.
  static inline F from_unsigned(I a) {
    return fma(from_int(_mm256_srli_epi32(a, 16)), set(65536.0f), from_int(and_int(a, set_int(0xFFFF))));
  }
  static inline I bits(F a) { return _mm256_castps_si256(a); }
  static inline F as_float(I a) { return _mm256_castsi256_ps(a); }
  static inline F exponent(F a) { return from_int(_mm256_sub_epi32(_mm256_srli_epi32(bits(a), 23), set_int(127))); }
  static inline F mantissa(F a) { return as_float(low_23_or(bits(a), 0x3F000000)); }

  static inline I set_int(uint32_t value) { return _mm256_set1_epi32(int32_t(value)); }
  static inline I and_int(I a, I b) { return _mm256_and_si256(a, b); }
  static inline I low_23_or(I a, uint32_t high) { return _mm256_or_si256(and_int(a, set_int(0x7FFFFF)), set_int(high)); }
  static inline I flip_magnitude(I a) {
    return _mm256_xor_si256(_mm256_xor_si256(a, _mm256_srai_epi32(a, 31)), set_int(0x7FFFFFFF));
  }

  static inline M bit30(I a) { return as_float(_mm256_slli_epi32(a, 1)); }  // blendv reads the sign
  static inline M at_least(F a, F b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
  static inline bool any(M mask) { return _mm256_movemask_ps(mask) != 0; }
  static inline F choose(M mask, F yes, F no) { return _mm256_blendv_ps(no, yes, mask); }
  static inline F flip_sign(F a, I b) {
    return _mm256_xor_ps(a, _mm256_and_ps(as_float(b), as_float(set_int(0x80000000))));
  }

  static inline void store(char* out, F value) { _mm256_storeu_ps(reinterpret_cast<float*>(out), value); }
  static inline void stream(char* out, F value) { _mm256_stream_ps(reinterpret_cast<float*>(out), value); }
  static inline void store_float64(char* out, F value) {
    _mm256_storeu_pd(reinterpret_cast<double*>(out), _mm256_cvtps_pd(_mm256_castps256_ps128(value)));
    _mm256_storeu_pd(reinterpret_cast<double*>(out) + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(value, 1)));
  }
  static inline void store_float16(char* out, F value) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
  static inline void store_bfloat16(char* out, F value) {
    const I even = and_int(_mm256_srli_epi32(bits(value), 16), set_int(1));
    const I rounded = _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits(value), set_int(0x7FFF)), even), 16);
    const __m128i low = _mm256_castsi256_si128(rounded), high = _mm256_extracti128_si256(rounded, 1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_packus_epi32(low, high));
  }
  static inline void fence() { _mm_sfence(); }
};

}  // namespace

Fill avx2_fill() { return fill<Avx2>; }

}  // namespace fanin
#else
namespace fanin {
Fill avx2_fill() { return nullptr; }
}  // namespace fanin
#endif
