// 16 elements at a time; compiled with AVX-512 F, BW, DQ and VL.
#include "kernel.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include <immintrin.h>

namespace fanin {
namespace {

struct Avx512 {
  static constexpr int WIDTH = 16, REGISTERS = 32;
  using F = __m512;
  using I = __m512i;
  using H = __m512i;
  using M = __mmask16;

  static inline H wide(uint64_t value) { return _mm512_set1_epi64(int64_t(value)); }
  static inline H even() { return _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14); }
  static inline H odd() { return _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15); }
  static inline H add_wide(H a, H b) { return _mm512_add_epi64(a, b); }
  static inline H mul_wide(H a, H b) { return _mm512_mul_epu32(a, b); }
  // A shuffle instead of a shift: shifts compete with the other half of the arithmetic for one port.
  static inline H high_half(H a) { return _mm512_shuffle_epi32(a, _MM_PERM_ENUM(0xF5)); }
  static inline H xor_wide(H a, H b) { return _mm512_xor_si512(a, b); }
  static inline H xor3_wide(H a, H b, H c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static inline I merge(H even, H odd) {
    return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, _MM_PERM_ENUM(0xA0));
  }

  static inline F set(float value) { return _mm512_set1_ps(value); }
  static inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static inline F div(F a, F b) { return _mm512_div_ps(a, b); }
  static inline F add(F a, F b) { return _mm512_add_ps(a, b); }
  static inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static inline F sqrt(F a) { return _mm512_sqrt_ps(a); }
  static inline F min(F a, F b) { return _mm512_min_ps(a, b); }
  static inline F max(F a, F b) { return _mm512_max_ps(a, b); }
  static inline F from_int(I a) { return _mm512_cvtepi32_ps(a); }
  static inline F from_unsigned(I a) { return _mm512_cvtepu32_ps(a); }
  static inline I bits(F a) { return _mm512_castps_si512(a); }
  static inline F as_float(I a) { return _mm512_castsi512_ps(a); }
  static inline F exponent(F a) { return _mm512_getexp_ps(a); }
  static inline F mantissa(F a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_p5_1, _MM_MANT_SIGN_src); }

  static inline I set_int(uint32_t value) { return _mm512_set1_epi32(int32_t(value)); }
  static inline I and_int(I a, I b) { return _mm512_and_si512(a, b); }
  static inline I low_23_or(I a, uint32_t high) {  // (a & b) | c
    return _mm512_ternarylogic_epi32(a, set_int(0x7FFFFF), set_int(high), 0xEA);
  }
  static inline I flip_magnitude(I a) {  // a ^ b ^ c
    return _mm512_ternarylogic_epi32(a, _mm512_srai_epi32(a, 31), set_int(0x7FFFFFFF), 0x96);
  }

  static inline M bit30(I a) { return _mm512_test_epi32_mask(a, _mm512_set1_epi32(0x40000000)); }
  static inline M at_least(F a, F b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
  static inline bool any(M mask) { return mask != 0; }
  static inline F choose(M mask, F yes, F no) { return _mm512_mask_blend_ps(mask, no, yes); }
  static inline F flip_sign(F a, I b) {  // a ^ (b & mask)
    return as_float(_mm512_ternarylogic_epi32(bits(a), b, _mm512_set1_epi32(int32_t(0x80000000)), 0x78));
  }

  static inline void store(char* out, F value) { _mm512_storeu_ps(out, value); }
  static inline void stream(char* out, F value) { _mm512_stream_ps(reinterpret_cast<float*>(out), value); }
  static inline void store_float64(char* out, F value) {
    _mm512_storeu_pd(out, _mm512_cvtps_pd(_mm512_castps512_ps256(value)));
    _mm512_storeu_pd(out + 64, _mm512_cvtps_pd(_mm512_extractf32x8_ps(value, 1)));
  }
  static inline void store_float16(char* out, F value) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
  static inline void store_bfloat16(char* out, F value) {
    const I even = and_int(_mm512_srli_epi32(bits(value), 16), set_int(1));
    const I rounded = _mm512_add_epi32(_mm512_add_epi32(bits(value), set_int(0x7FFF)), even);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
  }
  static inline void fence() { _mm_sfence(); }
};

}  // namespace

Fill avx512_fill() { return fill<Avx512>; }

}  // namespace fanin
#else
namespace fanin {
Fill avx512_fill() { return nullptr; }
}  // namespace fanin
#endif
