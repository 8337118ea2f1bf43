#include "pool.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace fanin {
namespace {

constexpr int MOST_THREADS = 256;

struct Pool {
  std::mutex in_use;  // held by the one caller that is being served

  std::mutex guard;
  std::condition_variable wake, finished;
  int wanted = 0;           // workers that should still take it up
  int busy = 0;             // workers that are on it
  int workers = 0;

  void (*work)(void*, int64_t) = nullptr;
  void* context = nullptr;
  int64_t chunks = 0;
  std::atomic<int64_t> next{0};

  void take_chunks() {
    for (int64_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) work(context, chunk);
  }

  void serve() {
    std::unique_lock<std::mutex> lock(guard);
    for (;;) {
      wake.wait(lock, [&] { return wanted > 0; });
      --wanted;
      ++busy;
      lock.unlock();
      take_chunks();
      lock.lock();
      if (--busy == 0) finished.notify_one();
    }
  }

  void run(int64_t count, int threads, void (*function)(void*, int64_t), void* argument) {
    {
      std::lock_guard<std::mutex> lock(guard);
      while (workers < threads - 1) {
        try {
          std::thread([this] { serve(); }).detach();
          ++workers;
        } catch (const std::system_error&) {
          break;  // no more threads to be had; those that run will do
        }
      }
      work = function;
      context = argument;
      chunks = count;
      next.store(0, std::memory_order_relaxed);
      wanted = threads - 1 < workers ? threads - 1 : workers;
    }
    wake.notify_all();
    take_chunks();
    std::unique_lock<std::mutex> lock(guard);
    wanted = 0;  // late workers would find nothing left
    finished.wait(lock, [&] { return busy == 0; });
  }
};

// Never destroyed: workers may still wait on it while the process exits. After a fork the child's copy has no
// threads and may hold locked mutexes, so it is abandoned for a new one.
std::atomic<Pool*> pool{nullptr};

Pool* current() {
#if !defined(_WIN32)
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
  (void)registered;
#endif
  Pool* existing = pool.load();
  if (existing) return existing;
  Pool* fresh = new Pool;
  if (pool.compare_exchange_strong(existing, fresh)) return fresh;
  delete fresh;
  return existing;
}

}  // namespace

void parallel(int64_t chunks, int threads, void (*work)(void*, int64_t), void* context) {
  if (threads > MOST_THREADS) threads = MOST_THREADS;
  if (threads > chunks) threads = int(chunks);
  if (threads > 1) {
    Pool* shared = current();
    std::unique_lock<std::mutex> lock(shared->in_use, std::try_to_lock);
    if (lock.owns_lock()) return shared->run(chunks, threads, work, context);
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) work(context, chunk);
}

}  // namespace fanin
