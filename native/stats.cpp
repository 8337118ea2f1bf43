// One pass over a tensor for everything that a tracer records of it; bound by memory.
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "convert.h"
#include "cpu.h"
#include "fanin.h"
#include "pool.h"
#include "reduce.h"

namespace fanin {
namespace {

constexpr int64_t CHUNK = int64_t(1) << 16;  // elements; sums are joined in the order of the chunks
constexpr int BINS = 64;

Stats empty() {
  const double infinity = std::numeric_limits<double>::infinity();
  return {0, 0, 0, infinity, -infinity, 0, 0, 0};
}

double value_at(const void* data, int64_t i, int32_t dtype) {
  switch (dtype) {
    case FLOAT64: return static_cast<const double*>(data)[i];
    case FLOAT32: return static_cast<const float*>(data)[i];
    case FLOAT16: return from_float16(static_cast<const uint16_t*>(data)[i]);
    default: return from_bfloat16(static_cast<const uint16_t*>(data)[i]);
  }
}

void one_by_one(const void* data, int64_t count, int32_t dtype, double low, double high, Stats& s) {
  for (int64_t i = 0; i < count; ++i) {
    const double x = value_at(data, i, dtype);
    if (!std::isfinite(x)) {
      ++s.nonfinite;
      continue;
    }
    s.sum += x;
    s.sum_of_squares += x * x;
    s.min = x < s.min ? x : s.min;
    s.max = x > s.max ? x : s.max;
    s.zeros += x == 0;
    s.saturated += x <= low || x >= high;
  }
}

// isa: -1 for the best one; what this processor lacks is done one by one.
Reduce reduce_of(int32_t isa) {
  if ((isa < 0 || isa == AVX512) && avx512_reduce() && runs(AVX512)) return avx512_reduce();
  if ((isa < 0 || isa == AVX2) && avx2_reduce() && runs(AVX2)) return avx2_reduce();
  return nullptr;
}

void join(Stats& all, const Stats& part) {
  all.sum += part.sum;
  all.sum_of_squares += part.sum_of_squares;
  all.min = part.min < all.min ? part.min : all.min;
  all.max = part.max > all.max ? part.max : all.max;
  all.zeros += part.zeros;
  all.nonfinite += part.nonfinite;
  all.saturated += part.saturated;
}

const char* at(const void* data, int64_t i, int32_t dtype) {
  return static_cast<const char*>(data) + i * size_of(dtype);
}

}  // namespace
}  // namespace fanin

using namespace fanin;

// Statistics of `count` contiguous values; the same for any number of threads.
FANIN_EXPORT void fanin_stats(const void* data, int64_t count, int32_t dtype, double low, double high,
                              int32_t threads, int32_t isa, Stats* out) {
  static const Reduce best = reduce_of(-1);
  const Reduce fast = isa < 0 ? best : reduce_of(isa);
  if (dtype != FLOAT64) low = float(low), high = float(high);
  const int64_t chunks = (count + CHUNK - 1) / CHUNK;
  std::vector<Stats> parts(size_t(chunks), empty());
  auto body = [&](int64_t chunk) {
    const int64_t first = chunk * CHUNK, length = count - first < CHUNK ? count - first : CHUNK;
    Stats& part = parts[size_t(chunk)];
    int64_t done = 0;
    if (fast && dtype != FLOAT64) done = fast(at(data, first, dtype), length, dtype, float(low), float(high), &part);
    one_by_one(at(data, first + done, dtype), length - done, dtype, low, high, part);
  };
  parallel(chunks, count < 4 * CHUNK ? 1 : threads, body);
  *out = empty();
  for (const Stats& part : parts) join(*out, part);
  if (out->min > out->max) out->min = out->max = std::numeric_limits<double>::quiet_NaN();
  out->max_abs = std::fmax(std::fabs(out->min), std::fabs(out->max));
}

// Counts of finite values in 64 equal bins over [low, high], at most `limit` values: one out of each of `limit` equal
// runs, at a place in the run that varies, so that no channel is favoured. Returns how many values were looked at.
FANIN_EXPORT int64_t fanin_histogram(const void* data, int64_t count, int32_t dtype, double low, double high,
                                     int64_t limit, int64_t* bins) {
  std::memset(bins, 0, BINS * sizeof(int64_t));
  const int64_t looks = limit > 0 && limit < count ? limit : count;
  const double scale = high > low ? BINS / (high - low) : 0;
  uint64_t place = 0;
  for (int64_t look = 0; look < looks; ++look) {
    int64_t i = look;
    if (looks < count) {
      const int64_t first = int64_t((__int128(count) * look) / looks);
      const int64_t last = int64_t((__int128(count) * (look + 1)) / looks);
      place += 0x9E3779B97F4A7C15;  // Weyl sequence of the golden ratio
      i = first + int64_t((place >> 32) * uint64_t(last - first) >> 32);
    }
    const double x = value_at(data, i, dtype);
    if (!std::isfinite(x) || x < low || x > high) continue;
    const int bin = int((x - low) * scale);
    ++bins[bin < BINS ? bin : BINS - 1];
  }
  return looks;
}

// Of a contiguous (rows, columns) matrix: the sum over columns of (the sum over rows)^2, and the sum of all squares;
// their quotient gives the mean inner product of two different rows. Non-finite values make the result non-finite.
FANIN_EXPORT void fanin_row_products(const void* data, int64_t rows, int64_t columns, int32_t dtype, int32_t threads,
                                     double* squared_sums, double* sum_of_squares) {
  constexpr int64_t BLOCK = 512;  // columns whose sums stay in the first cache
  const int64_t blocks = (columns + BLOCK - 1) / BLOCK;
  std::vector<double> parts(size_t(2 * blocks));
  auto body = [&](int64_t block) {
    const int64_t first = block * BLOCK, width = columns - first < BLOCK ? columns - first : BLOCK;
    double sums[BLOCK] = {}, squares[BLOCK] = {};
    for (int64_t row = 0; row < rows; ++row) {
      const void* line = at(data, row * columns + first, dtype);
      if (dtype == FLOAT32) {
        const float* x = static_cast<const float*>(line);
        for (int64_t i = 0; i < width; ++i) sums[i] += double(x[i]), squares[i] += double(x[i]) * double(x[i]);
      } else {
        for (int64_t i = 0; i < width; ++i) {
          const double x = value_at(line, i, dtype);
          sums[i] += x, squares[i] += x * x;
        }
      }
    }
    double& squared = parts[size_t(2 * block)];
    double& total = parts[size_t(2 * block + 1)];
    for (int64_t i = 0; i < width; ++i) squared += sums[i] * sums[i], total += squares[i];
  };
  parallel(blocks, rows * columns < 4 * CHUNK ? 1 : threads, body);
  *squared_sums = *sum_of_squares = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    *squared_sums += parts[size_t(2 * block)];
    *sum_of_squares += parts[size_t(2 * block + 1)];
  }
}

// Of a contiguous (batch, units, inner) tensor: how many units are exactly 0 everywhere. Stops at a unit's first
// value that is not, so that only dead units are read to the end.
FANIN_EXPORT int64_t fanin_dead_units(const void* data, int64_t batch, int64_t units, int64_t inner, int32_t dtype) {
  const int64_t size = size_of(dtype);
  std::vector<int64_t> left(static_cast<size_t>(units));
  for (int64_t unit = 0; unit < units; ++unit) left[size_t(unit)] = unit;
  for (int64_t sample = 0; sample < batch && !left.empty(); ++sample) {
    size_t kept = 0;
    for (int64_t unit : left) {
      const char* run = static_cast<const char*>(data) + (sample * units + unit) * inner * size;
      bool zero = true;
      for (int64_t i = 0; i < inner && zero; ++i) {
        if (size == 4) {
          uint32_t bits;
          std::memcpy(&bits, run + i * 4, 4);
          zero = (bits << 1) == 0;
        } else if (size == 2) {
          uint16_t bits;
          std::memcpy(&bits, run + i * 2, 2);
          zero = uint16_t(bits << 1) == 0;
        } else {
          uint64_t bits;
          std::memcpy(&bits, run + i * 8, 8);
          zero = (bits << 1) == 0;
        }
      }
      if (zero) left[kept++] = unit;
    }
    left.resize(kept);
  }
  return int64_t(left.size());
}
