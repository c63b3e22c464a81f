#include "praxino/base/signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "praxino/base/error.h"

namespace praxino {
namespace {

/// What a child process that runs `action` and exits with its result ends with; 1000 + signal when
/// killed.
int outcome_of(const std::function<int()>& action) {
  const pid_t child = fork();
  if (child == 0) _exit(action());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

TEST(StopSignal, FirstSignalOnlyAsksToStop) {
  for (const auto& [signal, code] : {std::pair(SIGINT, 130), std::pair(SIGTERM, 143)}) {
    EXPECT_EQ(outcome_of([signal = signal] {
                StopSignal stop;
                if (stop.requested() || stop.exit_code() != 0) return 1;
                raise(signal);
                return stop.requested() ? stop.exit_code() : 2;
              }),
              code);
  }
}

TEST(StopSignal, GivesUpWorkOnlyAfterASignal) {
  EXPECT_EQ(outcome_of([] {
              {
                StopSignal stop;
                throw_if_stopped();
                raise(SIGTERM);
                try {
                  throw_if_stopped();
                  return 1;
                } catch (const Stopped& stopped) {
                  if (stopped.exit_code() != 143) return 2;
                }
              }
              throw_if_stopped();  // nobody listens any more
              return 0;
            }),
            0);
}

TEST(StopSignal, SecondSignalEndsTheProcessAtOnce) {
  const auto second = [](int first, int then) {
    return outcome_of([=] {
      StopSignal stop;
      raise(first);
      raise(then);
      return 1;  // never reached
    });
  };
  EXPECT_EQ(second(SIGINT, SIGINT), 130);
  EXPECT_EQ(second(SIGTERM, SIGTERM), 143);
  EXPECT_EQ(second(SIGTERM, SIGINT), 130);
}

TEST(StopSignal, RestoresTheOldHandlers) {
  EXPECT_EQ(outcome_of([] {
              { StopSignal stop; }
              raise(SIGTERM);
              return 1;
            }),
            1000 + SIGTERM);
}

TEST(StopSignal, StaysDeafToWhatWasIgnored) {
  EXPECT_EQ(outcome_of([] {
              signal(SIGINT, SIG_IGN);  // as nohup and background jobs of a shell have it
              StopSignal stop;
              raise(SIGINT);
              raise(SIGINT);
              return stop.requested() ? 1 : 0;
            }),
            0);
}

TEST(StopTogether, ThrowsWhatAllAgreeOnAndNothingElse) {
  std::vector<int> asked;
  int agreed = 0;
  {
    const StopTogether together([&](int own) {
      asked.push_back(own);
      return agreed;
    });
    throw_if_stopped();
    agreed = 143;  // another process was told to stop
    EXPECT_THROW(throw_if_stopped(), Stopped);
  }
  throw_if_stopped();
  EXPECT_EQ(asked, (std::vector<int>{0, 0}));
  EXPECT_EQ(outcome_of([] {
              StopSignal stop;
              raise(SIGTERM);
              int own = 0;
              const StopTogether together([&](int code) {
                own = code;
                return 0;  // the others are not there yet
              });
              throw_if_stopped();
              return own;
            }),
            143);
}

TEST(StopSignal, OnlyOneAtATimeAndEachStartsAnew) {
  EXPECT_EQ(outcome_of([] {
              {
                StopSignal stop;
                raise(SIGINT);
                try {
                  StopSignal another;
                  return 1;
                } catch (const Error&) {
                }
              }
              return StopSignal().requested() ? 2 : 0;
            }),
            0);
}

}  // namespace
}  // namespace praxino
