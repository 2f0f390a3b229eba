// Our own threads for the CPU kernels. Work is cut into small pieces that are
// taken by whoever is free, so a neighbour that takes a core slows us by that
// core's share. Waiting threads spin for microseconds, then sleep: a waiting
// caller gives its core to the thread it waits for.
#pragma once

#include <cstdint>
#include <memory>

namespace roofline {

/// A reference to a callable (no allocation, no ownership).
class PieceFn {
 public:
  template <class F>
  PieceFn(F& f)  // NOLINT: implicit on purpose
      : object_(&f), call_([](void* object, int piece, int worker) {
          (*static_cast<F*>(object))(piece, worker);
        }) {}
  void operator()(int piece, int worker) const {
    call_(object_, piece, worker);
  }

 private:
  void* object_;
  void (*call_)(void*, int, int);
};

class ThreadPool {
 public:
  /// threads: the caller's included, at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Calls fn(piece, worker) for each piece in [0, pieces), in any order, and
  /// returns when all are done. worker is in [0, threads()). One caller at a
  /// time. An exception from a piece is thrown again here.
  void run(int pieces, PieceFn fn);

  /// The pool of this process, of default_threads() threads unless
  /// set_global_threads was called before the first use.
  static ThreadPool& global();
  static void set_global_threads(int threads);
  /// Cores this process may run on (affinity and cgroup quota counted).
  static int default_threads();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roofline
