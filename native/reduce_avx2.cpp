// Statistics of 8 values at a time; compiled with AVX2, FMA and F16C.
#include "reduce.h"

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>

namespace fanin {
namespace {

template <int32_t DTYPE>
inline __m256 load(const char* data, int64_t i) {
  if (DTYPE == FLOAT32) return _mm256_loadu_ps(reinterpret_cast<const float*>(data) + i);
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + 2 * i));
  if (DTYPE == FLOAT16) return _mm256_cvtph_ps(half);
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

inline int64_t ones(__m256 mask) { return __builtin_popcount(unsigned(_mm256_movemask_ps(mask))); }

inline double total(__m256d x) {
  double lanes[4];
  _mm256_storeu_pd(lanes, x);
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

template <int32_t DTYPE>
int64_t reduce(const char* data, int64_t count, float low, float high, Stats* out) {
  const __m256 zero = _mm256_setzero_ps(), lowest = _mm256_set1_ps(low), highest = _mm256_set1_ps(high);
  const __m256 largest = _mm256_set1_ps(0x1.fffffep+127f);
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  __m256d sum[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()}, squares[2] = {sum[0], sum[0]};
  __m256 min = _mm256_set1_ps(float(out->min)), max = _mm256_set1_ps(float(out->max));
  int64_t i = 0, zeros = 0, finite = 0, saturated = 0;
  for (; i + 8 <= count; i += 8) {
    __m256 x = load<DTYPE>(data, i);
    const __m256 good = _mm256_cmp_ps(_mm256_and_ps(x, magnitude), largest, _CMP_LE_OQ);
    min = _mm256_min_ps(min, _mm256_blendv_ps(min, x, good));
    max = _mm256_max_ps(max, _mm256_blendv_ps(max, x, good));
    finite += ones(good);
    zeros += ones(_mm256_cmp_ps(x, zero, _CMP_EQ_OQ));
    const __m256 flat = _mm256_or_ps(_mm256_cmp_ps(x, lowest, _CMP_LE_OQ), _mm256_cmp_ps(x, highest, _CMP_GE_OQ));
    saturated += ones(_mm256_and_ps(flat, good));
    x = _mm256_and_ps(x, good);
    const __m256d a = _mm256_cvtps_pd(_mm256_castps256_ps128(x)), b = _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
    sum[0] = _mm256_add_pd(sum[0], a);
    sum[1] = _mm256_add_pd(sum[1], b);
    squares[0] = _mm256_fmadd_pd(a, a, squares[0]);
    squares[1] = _mm256_fmadd_pd(b, b, squares[1]);
  }
  out->sum += total(_mm256_add_pd(sum[0], sum[1]));
  out->sum_of_squares += total(_mm256_add_pd(squares[0], squares[1]));
  float lanes[8];
  _mm256_storeu_ps(lanes, min);
  for (float lane : lanes) out->min = lane < out->min ? lane : out->min;
  _mm256_storeu_ps(lanes, max);
  for (float lane : lanes) out->max = lane > out->max ? lane : out->max;
  out->zeros += zeros;
  out->nonfinite += i - finite;
  out->saturated += saturated;
  return i;
}

int64_t dispatch(const char* data, int64_t count, int32_t dtype, float low, float high, Stats* out) {
  switch (dtype) {
    case FLOAT32: return reduce<FLOAT32>(data, count, low, high, out);
    case FLOAT16: return reduce<FLOAT16>(data, count, low, high, out);
    case BFLOAT16: return reduce<BFLOAT16>(data, count, low, high, out);
    default: return 0;
  }
}

}  // namespace

Reduce avx2_reduce() { return dispatch; }

}  // namespace fanin
#else
namespace fanin {
Reduce avx2_reduce() { return nullptr; }
}  // namespace fanin
#endif
