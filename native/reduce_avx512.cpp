// Statistics of 16 values at a time; compiled with AVX-512 F and DQ.
#include "reduce.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>

#include <cmath>

namespace fanin {
namespace {

template <int32_t DTYPE>
inline __m512 load(const char* data, int64_t i) {
  if (DTYPE == FLOAT32) return _mm512_loadu_ps(data + 4 * i);
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + 2 * i));
  if (DTYPE == FLOAT16) return _mm512_cvtph_ps(half);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

template <int32_t DTYPE>
int64_t reduce(const char* data, int64_t count, float low, float high, Stats* out) {
  const __m512 zero = _mm512_setzero_ps(), lowest = _mm512_set1_ps(low), highest = _mm512_set1_ps(high);
  __m512d sum[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()}, squares[2] = {sum[0], sum[0]};
  __m512 min = _mm512_set1_ps(float(out->min)), max = _mm512_set1_ps(float(out->max));
  int64_t i = 0, zeros = 0, nonfinite = 0, saturated = 0;
  for (; i + 16 <= count; i += 16) {
    __m512 x = load<DTYPE>(data, i);
    const __mmask16 bad = _mm512_fpclass_ps_mask(x, 0x99), good = _mm512_knot(bad);  // NaN and infinities
    min = _mm512_mask_min_ps(min, good, min, x);
    max = _mm512_mask_max_ps(max, good, max, x);
    nonfinite += __builtin_popcount(bad);
    zeros += __builtin_popcount(_mm512_cmp_ps_mask(x, zero, _CMP_EQ_OQ));
    saturated += __builtin_popcount(_mm512_mask_cmp_ps_mask(good, x, lowest, _CMP_LE_OQ) |
                                    _mm512_mask_cmp_ps_mask(good, x, highest, _CMP_GE_OQ));
    x = _mm512_maskz_mov_ps(good, x);
    const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(x)), b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    sum[0] = _mm512_add_pd(sum[0], a);
    sum[1] = _mm512_add_pd(sum[1], b);
    squares[0] = _mm512_fmadd_pd(a, a, squares[0]);
    squares[1] = _mm512_fmadd_pd(b, b, squares[1]);
  }
  out->sum += _mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1]));
  out->sum_of_squares += _mm512_reduce_add_pd(_mm512_add_pd(squares[0], squares[1]));
  out->min = double(_mm512_reduce_min_ps(min));
  out->max = double(_mm512_reduce_max_ps(max));
  out->zeros += zeros;
  out->nonfinite += nonfinite;
  out->saturated += saturated;
  return i;
}

// The same where every value is finite, which is seen afterwards: one NaN or infinity makes the sum not finite, and
// then nothing was added. Half the instructions; the sums are made in the same order, so they are the same bits.
template <int32_t DTYPE, bool BOUNDED>
bool reduce_finite(const char* data, int64_t count, float low, float high, Stats* out) {
  const __m512 zero = _mm512_setzero_ps(), lowest = _mm512_set1_ps(low), highest = _mm512_set1_ps(high);
  const __m512i minus = _mm512_set1_epi32(-1);
  __m512d sum[2] = {_mm512_setzero_pd(), _mm512_setzero_pd()}, squares[2] = {sum[0], sum[0]};
  __m512 min = _mm512_set1_ps(float(out->min)), max = _mm512_set1_ps(float(out->max));
  __m512i zeros = _mm512_setzero_si512(), saturated = zeros;  // 32 bits a lane: a chunk has fewer values
  for (int64_t i = 0; i + 16 <= count; i += 16) {
    const __m512 x = load<DTYPE>(data, i);
    min = _mm512_min_ps(min, x);
    max = _mm512_max_ps(max, x);
    zeros = _mm512_mask_sub_epi32(zeros, _mm512_cmp_ps_mask(x, zero, _CMP_EQ_OQ), zeros, minus);
    if (BOUNDED) {
      const __mmask16 flat = _mm512_cmp_ps_mask(x, lowest, _CMP_LE_OQ) | _mm512_cmp_ps_mask(x, highest, _CMP_GE_OQ);
      saturated = _mm512_mask_sub_epi32(saturated, flat, saturated, minus);
    }
    const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(x)), b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    sum[0] = _mm512_add_pd(sum[0], a);
    sum[1] = _mm512_add_pd(sum[1], b);
    squares[0] = _mm512_fmadd_pd(a, a, squares[0]);
    squares[1] = _mm512_fmadd_pd(b, b, squares[1]);
  }
  const double total = _mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1]));
  if (!(total - total == 0)) return false;
  out->sum += total;
  out->sum_of_squares += _mm512_reduce_add_pd(_mm512_add_pd(squares[0], squares[1]));
  out->min = double(_mm512_reduce_min_ps(min));
  out->max = double(_mm512_reduce_max_ps(max));
  out->zeros += _mm512_reduce_add_epi32(zeros);
  out->saturated += _mm512_reduce_add_epi32(saturated);
  return true;
}

template <int32_t DTYPE>
int64_t choose(const char* data, int64_t count, float low, float high, Stats* out) {
  const bool bounded = low > -HUGE_VALF || high < HUGE_VALF;
  const bool done = bounded ? reduce_finite<DTYPE, true>(data, count, low, high, out)
                            : reduce_finite<DTYPE, false>(data, count, low, high, out);
  return done ? count / 16 * 16 : reduce<DTYPE>(data, count, low, high, out);
}

int64_t dispatch(const char* data, int64_t count, int32_t dtype, float low, float high, Stats* out) {
  switch (dtype) {
    case FLOAT32: return choose<FLOAT32>(data, count, low, high, out);
    case FLOAT16: return choose<FLOAT16>(data, count, low, high, out);
    case BFLOAT16: return choose<BFLOAT16>(data, count, low, high, out);
    default: return 0;
  }
}

}  // namespace

Reduce avx512_reduce() { return dispatch; }

}  // namespace fanin
#else
namespace fanin {
Reduce avx512_reduce() { return nullptr; }
}  // namespace fanin
#endif
