// The part of the statistics that an instruction set can do many values at a time.
#pragma once

#include "fanin.h"

namespace fanin {

// Adds the first values of a chunk to `out` and returns how many it took; the caller adds the rest one by one.
using Reduce = int64_t (*)(const char* data, int64_t count, int32_t dtype, float low, float high, Stats* out);
Reduce avx512_reduce();
Reduce avx2_reduce();

}  // namespace fanin
