#include "praxino/base/signals.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <utility>

#include "praxino/base/error.h"

namespace praxino {
namespace {

std::atomic<bool> installed = false;
std::atomic<int> received = 0;  // the first signal; 0: none
static_assert(std::atomic<int>::is_always_lock_free, "the handler must not take a lock");

thread_local std::function<int(int)> agreement;  // of a StopTogether; empty: there is none

struct sigaction old_interrupt = {};
struct sigaction old_terminate = {};

void on_signal(int signal) {
  int none = 0;
  if (!received.compare_exchange_strong(none, signal)) _exit(128 + signal);
}

void install(int signal, struct sigaction& old) {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &old);
  // Ignored from outside (nohup, a shell's background job): stay deaf to it.
  if (old.sa_handler == SIG_IGN) sigaction(signal, &old, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  if (installed.exchange(true)) fail("only one StopSignal may exist at a time");
  received = 0;
  install(SIGINT, old_interrupt);
  install(SIGTERM, old_terminate);
}

StopSignal::~StopSignal() {
  sigaction(SIGINT, &old_interrupt, nullptr);
  sigaction(SIGTERM, &old_terminate, nullptr);
  installed = false;
}

bool StopSignal::requested() const { return received != 0; }

int StopSignal::exit_code() const {
  const int signal = received;
  return signal == 0 ? 0 : 128 + signal;
}

int stop_requested() {
  const int signal = received;
  return installed && signal != 0 ? 128 + signal : 0;
}

StopTogether::StopTogether(std::function<int(int)> agree) { agreement = std::move(agree); }
StopTogether::~StopTogether() { agreement = nullptr; }

void throw_if_stopped() {
  const int own = stop_requested();
  if (const int code = agreement ? agreement(own) : own) throw Stopped(code);
}

}  // namespace praxino
