#pragma once
// One emulated thread: a function with a stack of its own, run in pieces.

#include <boost/context/fiber.hpp>
#include <exception>
#include <functional>

namespace praxino::testing {

/// Runs `body` until it calls pause(), and on from there at the next resume(). Destroying a fiber
/// that has not finished unwinds its stack. Belongs to the thread that made it.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;  // its stack knows its address
  Fiber& operator=(const Fiber&) = delete;

  /// Called from outside; throws what escaped the body.
  void resume();
  /// Called from inside the body.
  void pause();
  bool finished() const { return !inside_; }

 private:
  struct Stack {  // what AddressSanitizer wants to know of each change of stacks
    const void* bottom = nullptr;
    size_t size = 0;
  };
  class Unwind {};  // thrown out of pause() to leave the body

  void run();

  std::function<void()> body_;
  Stack own_;
  Stack callers_;
  bool unwinding_ = false;
  std::exception_ptr error_;
  boost::context::fiber outside_;
  boost::context::fiber inside_;
};

}  // namespace praxino::testing
