#include "support/cuda_on_cpu/fiber.h"

#include <boost/context/fixedsize_stack.hpp>
#include <boost/context/preallocated.hpp>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace praxino::testing {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStack = 256 * 1024;  // its frames are larger
#else
constexpr size_t kStack = 64 * 1024;
#endif

// AddressSanitizer has to hear of each change of stacks: before it, from the one that is left...
void leave_for([[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size,
               [[maybe_unused]] void** frames) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(frames, bottom, size);
#endif
}

// ...and after it, on the other.
void arrived([[maybe_unused]] void* frames, [[maybe_unused]] const void** bottom,
             [[maybe_unused]] size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(frames, bottom, size);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)) {
  boost::context::fixedsize_stack allocator(kStack);
  const boost::context::stack_context stack = allocator.allocate();
  own_ = {static_cast<char*>(stack.sp) - stack.size, stack.size};
  inside_ = boost::context::fiber(std::allocator_arg,
                                  boost::context::preallocated(stack.sp, stack.size, stack),
                                  allocator, [this](boost::context::fiber&& outside) {
                                    outside_ = std::move(outside);
                                    arrived(nullptr, &callers_.bottom, &callers_.size);
                                    run();
                                    leave_for(callers_.bottom, callers_.size, nullptr);
                                    return std::move(outside_);
                                  });
}

Fiber::~Fiber() {
  if (finished()) return;
  unwinding_ = true;
  resume();
}

void Fiber::run() {
  if (unwinding_) return;
  try {
    body_();
  } catch (const Unwind&) {
  } catch (...) {
    error_ = std::current_exception();
  }
}

void Fiber::resume() {
  void* frames = nullptr;
  leave_for(own_.bottom, own_.size, &frames);
  inside_ = std::move(inside_).resume();
  arrived(frames, nullptr, nullptr);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Fiber::pause() {
  void* frames = nullptr;
  leave_for(callers_.bottom, callers_.size, &frames);
  outside_ = std::move(outside_).resume();
  arrived(frames, &callers_.bottom, &callers_.size);
  if (unwinding_) throw Unwind();
}

}  // namespace praxino::testing
