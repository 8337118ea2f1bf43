// The C interface of the kernel; src/fanin/native/__init__.py loads it with ctypes.
#pragma once

#include <cstdint>

#if defined(_WIN32)
#define FANIN_EXPORT extern "C" __declspec(dllexport)
#else
#define FANIN_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace fanin {

enum Kind : int32_t { CONSTANT = 0, UNIFORM = 1, NORMAL = 2, TRUNCATED_NORMAL = 3 };
enum Reach : int32_t { NARROW = 0, CENTRAL = 1, FAR = 2 };
enum Dtype : int32_t { FLOAT32 = 0, FLOAT64 = 1, FLOAT16 = 2, BFLOAT16 = 3 };
enum Isa : int32_t { SCALAR = 0, AVX2 = 1, AVX512 = 2, NEON = 3 };

// A law in float32; src/fanin/keys/_plan.py computes it and says what each number means.
struct Plan {
  int32_t kind;
  int32_t clip;  // 0 where cutting to [low, high] changes nothing
  int32_t reach;  // of a truncated normal: a value of Reach
  float location, scale, low, high;
  float step, inside, outside;
  double exact;  // the location in float64: what a constant is
};

// Sums and extremes are over finite values; saturated counts values <= low_end or >= high_end.
struct Stats {
  double sum, sum_of_squares, max_abs, min, max;
  int64_t zeros, nonfinite, saturated;
};

static inline int64_t size_of(int32_t dtype) { return dtype == FLOAT64 ? 8 : dtype == FLOAT32 ? 4 : 2; }

}  // namespace fanin
