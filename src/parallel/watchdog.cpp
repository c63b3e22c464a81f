#include "parallel/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "parallel/collective_dump.h"
#include "parallel/rank_state.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Waits are counted in pauses, not in seconds: a machine that stood still has heard no answers.
constexpr milliseconds kPatience{2000};  // for the answer of a rank
constexpr milliseconds kPause{10};
constexpr milliseconds kBeat{1000};

std::string beat_key(int64_t rank) { return fmt::format("beat/{}", rank); }
std::string answer_key(int64_t rank) { return fmt::format("answer/{}", rank); }
std::string left_key(int64_t rank) { return fmt::format("left/{}", rank); }
constexpr const char* kTrouble = "trouble";

GroupState state_of(const WatchedGroup& group) {
  GroupState state{.name = group.name, .members = group.members};
  for (const CollectiveRecord& record : group.log->last()) {
    if (record.message) continue;
    state.entered = record.number;
    state.collective = record.text();
    if (record.waiting() && state.waits_for == 0) {
      state.waits_for = record.number;
      state.awaited = record.text();
    }
  }
  return state;
}

/// The newest collective whose end shows that every rank had entered it.
int64_t completed_in(const WatchedGroup& group) {
  int64_t completed = 0;
  for (const CollectiveRecord& record : group.log->last()) {
    if (!record.message && record.peer < 0 && record.ended > 0) completed = record.number;
  }
  return completed;
}

}  // namespace

std::string ended_key(int64_t rank) { return fmt::format("ended/{}", rank); }

struct Watchdog::State {
  struct Request {
    FailedCollective failed;
    std::string error;
    std::promise<std::string> reply;
  };

  void run();
  void pulse();
  void look_at_own_rank();
  void look_at_neighbour();
  void answer(Request& request);
  std::string culprits(const FailedCollective& failed);
  Heard ask(int64_t rank, int64_t& pauses);
  RankState own_state() const;
  void announce(const std::string& what);
  void break_off(const std::string& what);
  std::string dump(const std::string& error);
  std::string text_of(const std::string& key) {
    const std::vector<uint8_t> bytes = store->get(key);
    return {bytes.begin(), bytes.end()};
  }
  void set(const std::string& key, const std::string& text) {
    store->set(key, std::vector<uint8_t>(text.begin(), text.end()));
  }
  milliseconds limit() const { return first ? options.first : options.steady; }

  WatchdogOptions options;
  c10::intrusive_ptr<c10d::Store> store;
  std::vector<WatchedGroup> groups;

  std::atomic<int64_t> step = -1;  // the newest begun
  std::atomic<bool> in_step = false;
  std::atomic<bool> first = true;
  std::atomic<int64_t> waits = 0;
  std::atomic<int64_t> moves = 0;
  std::atomic<bool> broken = false;
  std::atomic<Clock::rep> moved_at = 0;

  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  std::deque<Request> requests;
  std::string reason;
  bool stopping = false;
  bool done = false;

  // Of the thread alone.
  int64_t seen_moves = 0, idle_pulses = 0, pulses = 0;
  std::string trouble;     // of this rank's own
  bool announced = false;  // and this rank's answer told
  bool store_lost = false;
  std::string neighbour_beat;
  int64_t neighbour_stale = 0;  // pulses
  std::map<int64_t, Heard> heard;
};

RankState Watchdog::State::own_state() const {
  RankState state{
      .rank = options.rank, .step = step, .in_step = in_step, .trouble = trouble, .groups = {}};
  const Clock::duration since = Clock::now().time_since_epoch() - Clock::duration(moved_at);
  state.seconds = std::chrono::duration<double>(since).count();
  for (const WatchedGroup& group : groups) state.groups.push_back(state_of(group));
  return state;
}

void Watchdog::State::break_off(const std::string& what) {
  const std::lock_guard lock(mutex);
  if (reason.empty()) reason = what;
  broken = true;
}

// The others see the key at their next pulse and answer.
void Watchdog::State::announce(const std::string& what) {
  break_off(what);
  if (std::exchange(announced, true)) return;
  set(answer_key(options.rank), to_json(own_state()));
  if (!store->check({kTrouble})) set(kTrouble, fmt::format("rank {}: {}", options.rank, what));
}

std::string Watchdog::State::dump(const std::string& error) {
  if (options.dumps.empty()) return {};
  std::vector<RankState> others;
  for (const auto& [rank, what] : heard) {
    if (what.state) others.push_back(*what.state);
  }
  try {
    return write_collective_dump({.folder = options.dumps, .ranks = options.ranks, .error = error},
                                 own_state(), groups, others)
        .string();
  } catch (const std::exception& failed) {
    log::warning("the last collectives of rank {} are not written: {}", options.rank,
                 failed.what());
    return {};
  }
}

/// Takes at most `pauses` more pauses, which it counts down.
Heard Watchdog::State::ask(int64_t rank, int64_t& pauses) {
  Heard& known = heard[rank];
  while (!known.answered && known.ended.empty()) {
    if (store->check({answer_key(rank)})) {
      known = {.state = parse_rank_state(text_of(answer_key(rank))), .answered = true, .ended = {}};
    } else if (store->check({ended_key(rank)})) {
      known.ended = text_of(ended_key(rank));
    } else if (store->check({left_key(rank)})) {
      known.ended = "has left the others: its own messages say why";
    } else if (pauses-- > 0) {
      std::this_thread::sleep_for(kPause);
      continue;
    }
    break;
  }
  if (!known.state && store->check({beat_key(rank)})) {
    known.state = parse_rank_state(text_of(beat_key(rank)));
  }
  return known;
}

std::string Watchdog::State::culprits(const FailedCollective& failed) {
  int64_t pauses = kPatience / kPause;
  return name_culprits(failed, [&](int64_t rank) { return ask(rank, pauses); });
}

void Watchdog::State::answer(Request& request) {
  std::string text;
  try {
    if (!store_lost) {
      announce(request.error);
      text = culprits(request.failed);
    }
  } catch (const std::exception&) {
    store_lost = true;
  }
  if (store_lost) {
    text = fmt::format("the store does not answer: {}, which hosts it, has ended or hangs",
                       options.store_host);
  }
  break_off(request.error);
  const std::string path = dump(fmt::format("{}; {}", request.error, text));
  if (!path.empty()) text += "; last collectives: " + path;
  request.reply.set_value(text);
}

// Pulses are counted, not seconds: a machine that was suspended has not hung. A little later than
// the others, whose collectives then fail, so that they say it with all that they know.
void Watchdog::State::look_at_own_rank() {
  const bool still = in_step && waits == 0 && moves == seen_moves;
  seen_moves = moves;
  idle_pulses = still ? idle_pulses + 1 : 0;
  if (options.pulse * idle_pulses < limit() + kPatience || !trouble.empty()) return;
  trouble = fmt::format("step {} has not gone on for more than {:g} s, and waits for no other rank",
                        step.load(), std::chrono::duration<double>(limit()).count());
  if (!store_lost) announce(trouble);
  const std::string path = dump(trouble);
  log::error("rank {}: {}; this process ends{}", options.rank, trouble,
             path.empty() ? "" : "; last collectives: " + path);
  options.end_process();
}

void Watchdog::State::look_at_neighbour() {
  const int64_t next = (options.rank + 1) % options.ranks;
  if (!store->check({beat_key(next)}) || store->check({left_key(next)})) return;
  const std::string beat = text_of(beat_key(next));
  neighbour_stale = beat == neighbour_beat ? neighbour_stale + kBeat / options.pulse : 0;
  neighbour_beat = beat;
  if (options.pulse * neighbour_stale < limit() + kPatience) return;
  const std::string silent = fmt::format("rank {} has shown no sign of life for more than {:g} s",
                                         next, std::chrono::duration<double>(limit()).count());
  announce(silent);
  dump(silent);
}

void Watchdog::State::pulse() {
  look_at_own_rank();
  if (store_lost || announced) return;
  if (pulses++ % std::max<int64_t>(kBeat / options.pulse, 1) == 0) {
    set(beat_key(options.rank), to_json(own_state()));
    look_at_neighbour();
  }
  if (!store->check({kTrouble})) return;
  announce(text_of(kTrouble));
  dump(text_of(kTrouble));
}

void Watchdog::State::run() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    std::deque<Request> now;
    now.swap(requests);
    lock.unlock();
    for (Request& request : now) answer(request);
    try {
      pulse();
    } catch (const std::exception&) {
      store_lost = true;  // whoever needs it will say so
    }
    lock.lock();
    changed.wait_for(lock, options.pulse, [&] { return stopping || !requests.empty(); });
  }
  lock.unlock();
  try {
    if (!store_lost && !broken) set(left_key(options.rank), "1");
  } catch (const std::exception&) {  // its host may have ended first
  }
  lock.lock();
  done = true;
  changed.notify_all();
}

Watchdog::Watchdog(c10d::Store& store, WatchdogOptions options)
    : state_(std::make_shared<State>()) {
  state_->options = std::move(options);
  if (!state_->options.end_process) {
    state_->options.end_process = [] {
      std::this_thread::sleep_for(kPatience);  // others read this rank's answer
      _exit(1);
    };
  }
  state_->store = store.clone();
  goes_on();
}

Watchdog::~Watchdog() { leave(); }

void Watchdog::leave() {
  State& s = *state_;
  std::unique_lock lock(s.mutex);
  s.stopping = true;
  s.changed.notify_all();
  for (int64_t pauses = std::chrono::seconds(1) / kPause; pauses > 0 && !s.done; --pauses) {
    s.changed.wait_for(lock, kPause, [&] { return s.done; });
  }
}

void Watchdog::add(WatchedGroup group) { state_->groups.push_back(std::move(group)); }

void Watchdog::start() {
  std::thread([state = state_] { state->run(); }).detach();
}

void Watchdog::step_begins(int64_t step) {
  goes_on();
  state_->step = step;
  state_->in_step = true;
}

void Watchdog::step_ends() {
  state_->in_step = false;
  state_->first = false;
}

milliseconds Watchdog::limit() const { return state_->limit(); }

void Watchdog::goes_on(int waits) {
  state_->waits += waits;
  ++state_->moves;
  state_->moved_at = Clock::now().time_since_epoch().count();
}

bool Watchdog::broken() const { return state_->broken; }

std::string Watchdog::reason() const {
  const std::lock_guard lock(state_->mutex);
  return state_->reason;
}

std::string Watchdog::explain(const std::string& group, int64_t number,
                              const std::string& collective, const std::string& error) {
  State& s = *state_;
  const auto watched = std::ranges::find(s.groups, group, &WatchedGroup::name);
  State::Request request{.failed = {.rank = s.options.rank,
                                    .group = group,
                                    .members = watched->members,
                                    .number = number,
                                    .collective = collective,
                                    .completed = completed_in(*watched)},
                         .error = error,
                         .reply = {}};
  std::future<std::string> reply = request.reply.get_future();
  {
    const std::lock_guard lock(s.mutex);
    s.requests.push_back(std::move(request));
    s.changed.notify_all();
  }
  for (int64_t pauses = 3 * kPatience / kPause; pauses > 0; --pauses) {
    if (reply.wait_for(kPause) == std::future_status::ready) return reply.get();
  }
  s.broken = true;
  return fmt::format("the store does not answer: {}, which hosts it, hangs or is cut off",
                     s.options.store_host);
}

}  // namespace praxino
