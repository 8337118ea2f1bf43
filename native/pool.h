// Threads that wait for work, so that a fill of a few megabytes does not pay for starting them.
#pragma once

#include <cstdint>

namespace fanin {

// Calls work(context, chunk) for every chunk in [0, chunks), on at most `threads` threads with the caller among them.
// If the pool is in use by another caller, the caller does all chunks alone. Safe after fork: a child starts its own.
void parallel(int64_t chunks, int threads, void (*work)(void* context, int64_t chunk), void* context);

template <class F>
void parallel(int64_t chunks, int threads, F& body) {
  parallel(chunks, threads, [](void* context, int64_t chunk) { (*static_cast<F*>(context))(chunk); }, &body);
}

}  // namespace fanin
