#include "praxino/parallel/communicator.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <functional>
#include <mutex>

#include "parallel/group.h"
#include "parallel/segments.h"
#include "praxino/base/error.h"
#include "praxino/base/first_line.h"
#include "praxino/parallel/buckets.h"

namespace praxino {

/// What is under way, and how to name it when it fails. The text is only made then.
struct Pending::State {
  std::shared_ptr<Communicator::Group> group = {};
  CollectiveRecord record = {};
  int64_t place = 0;  // in the group's log
  at::Tensor values = {};
  c10::intrusive_ptr<c10d::Work> work = {};
  std::function<void()> finish = {};  // what is left to do with what has arrived

  [[noreturn]] void rethrow(const std::exception& error) const {
    const bool echo = group->watchdog->broken();
    const std::string text = fmt::format(
        "rank {}: {} (number {} of the group '{}', {} [{}]) failed: {}",
        group->members[static_cast<size_t>(group->rank)], record.name(), record.number, group->name,
        c10::toString(values.scalar_type()), fmt::join(values.sizes(), ", "), first_line(error));
    if (echo && group->patient) fail("{}", text);  // told by the one that failed first
    fail("{}; {}", text,
         group->watchdog->explain(group->name, record.message ? 0 : record.number, record.text(),
                                  text));
  }
};

Pending::Pending() = default;
Pending::Pending(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pending::~Pending() = default;
Pending::Pending(Pending&&) noexcept = default;
Pending& Pending::operator=(Pending&&) noexcept = default;

void Pending::wait(std::chrono::milliseconds limit) {
  if (!state_) return;
  const std::unique_ptr<State> state = std::move(state_);
  const Communicator::Group& group = *state->group;
  group.log->wait_begins(state->place);
  if (!group.background) group.watchdog->goes_on(+1);
  try {
    const WaitClock::Stretch stretch(group.waits.get(), state->values.device());
    group.wait(*state->work, limit, state->record.message);
  } catch (const std::exception& error) {
    state->rethrow(error);
  }
  if (!group.background) group.watchdog->goes_on(-1);
  group.log->ends(state->place);
  if (state->finish) state->finish();
}

namespace {

using Group = Communicator::Group;

void require(const Group& group, const char* collective, const at::Tensor& values) {
  TORCH_CHECK(values.is_contiguous(), group.name, ": ", collective,
              " needs a contiguous tensor, this one has strides ", values.strides());
}

/// Each sum in float32, in the order of the ranks, rounded once.
void sum_pieces(const at::Tensor& out, const at::Tensor& pieces) {
  const at::NoGradGuard no_grad;
  at::Tensor sum = out.view(-1);
  at::sum_out(sum, pieces.view({-1, sum.numel()}), 0);
}

/// LibTorch's record of collectives (c10d::FlightRecorder, 2.11) enters a group at its first one
/// into a map of the whole process without a lock: threads must take turns. Gloo's calls return at
/// once; NCCL's may wait for other ranks, and are made by one thread.
std::unique_lock<std::mutex> turn_to_start(const Group& group) {
  static std::mutex mutex;
  return group.over_gloo ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
}

CollectiveRecord record_of(const Group& group, const char* kind, const at::Tensor& values,
                           int64_t peer) {
  CollectiveRecord record{.kind = kind,
                          .peer = peer < 0 ? -1 : group.members[static_cast<size_t>(peer)],
                          .type = values.scalar_type(),
                          .dims = values.dim()};
  const size_t shown = std::min(values.sizes().size(), record.sizes.size());
  std::copy_n(values.sizes().begin(), shown, record.sizes.begin());
  return record;
}

/// What a collective is called, and with what.
struct About {
  const char* kind = "";
  const at::Tensor& values;
  int64_t peer = -1;  // in the group
  bool message = false;
  int passes = 1;     // around a ring, where nobody is behind the group
  bool sums = false;  // on its way
};

/// Gloo gathers equal lengths alone, and has no reduce-scatter: LibTorch's sums all of the tensor
/// on every rank, which is twice the traffic of an exchange with sums on the spot.
bool runs_over_gloo(const Group& group, const at::Tensor& values) {
  return group.planned ? group.over_gloo : values.is_cpu();
}

std::vector<at::Tensor> segments_of(const at::Tensor& flat, const std::vector<int64_t>& begins,
                                    int64_t ranks) {
  std::vector<at::Tensor> segments;
  for (int64_t r = 0; r < ranks; ++r) segments.push_back(segment_of(flat, begins, r));
  return segments;
}

/// Starts a collective; `call` hands the backend its tensors, `finish` ends the wait for it.
template <class Call>
Pending start(const std::shared_ptr<Group>& group, const About& about, const Call& call,
              std::function<void()> finish = {}) {
  if (group->planned) {
    group->plan(about.values, about.passes, about.sums);
    return {};
  }
  CollectiveRecord record = record_of(*group, about.kind, about.values, about.peer);
  record.message = about.message;
  record.number = about.message ? ++group->messages : ++group->calls;
  auto state = std::make_unique<Pending::State>(Pending::State{.group = group,
                                                               .record = record,
                                                               .place = group->log->enter(record),
                                                               .values = about.values});
  state->finish = std::move(finish);
  if (!group->background) group->watchdog->goes_on();
  try {
    if (group->connecting.valid()) group->connecting.get();
    const std::unique_lock<std::mutex> turn = turn_to_start(*group);
    state->work = call(*group->backend);
  } catch (const std::exception& error) {
    state->rethrow(error);
  }
  return Pending(std::move(state));
}

/// Rank `to` receives the sum over all ranks, in place; the others' values are undefined after it.
Pending reduce_to(const std::shared_ptr<Group>& group, const at::Tensor& values, int64_t to) {
  return start(group, {.kind = "reduce to", .values = values, .peer = to, .sums = true},
               [&](c10d::Backend& backend) {
                 std::vector<at::Tensor> tensors = {values};
                 c10d::ReduceOptions options;
                 options.rootRank = to;
                 return backend.reduce(tensors, options);
               });
}

c10d::ReduceOp reduce_op(Reduce how) {
  return how == Reduce::kMax ? c10d::ReduceOp::MAX : c10d::ReduceOp::SUM;
}

}  // namespace

Communicator::Communicator(std::shared_ptr<Group> group) : group_(std::move(group)) {}
Communicator::Communicator() : group_(std::make_shared<Group>()) {}

int64_t Communicator::rank() const { return group_->rank; }
int64_t Communicator::size() const { return group_->size(); }
const std::string& Communicator::name() const { return group_->name; }
PlannedBytes Communicator::planned_bytes() const { return group_->sent; }

Pending Communicator::all_reduce(const at::Tensor& values, Reduce how) const {
  require(*group_, "all_reduce", values);
  if (size() == 1) return {};
  return start(group_, {.kind = "all_reduce", .values = values, .passes = 2, .sums = true},
               [&](c10d::Backend& backend) {
                 std::vector<at::Tensor> tensors = {values};
                 c10d::AllreduceOptions options;
                 options.reduceOp = reduce_op(how);
                 return backend.allreduce(tensors, options);
               });
}

Pending Communicator::reduce_scatter(const at::Tensor& out, const at::Tensor& in) const {
  require(*group_, "reduce_scatter", in);
  require(*group_, "reduce_scatter", out);
  TORCH_CHECK(in.numel() == out.numel() * size(), "reduce_scatter: ", in.numel(), " elements for ",
              size(), " ranks of ", out.numel());
  if (size() == 1) {
    out.view(-1).copy_(in.view(-1));
    return {};
  }
  const About about{.kind = "reduce_scatter", .values = in, .sums = true};
  if (runs_over_gloo(*group_, in)) {
    at::Tensor pieces = at::empty_like(in).view(-1);
    const auto exchange = [&](c10d::Backend& backend) {
      at::Tensor from = in.view(-1);
      std::vector<int64_t> equal;
      return backend.alltoall_base(pieces, from, equal, equal);
    };
    return start(group_, about, exchange, [out, pieces] { sum_pieces(out, pieces); });
  }
  return start(group_, about, [&](c10d::Backend& backend) {
    at::Tensor to = out.view(-1), from = in.view(-1);
    return backend._reduce_scatter_base(to, from);
  });
}

Pending Communicator::all_gather(const at::Tensor& out, const at::Tensor& in) const {
  require(*group_, "all_gather", in);
  require(*group_, "all_gather", out);
  TORCH_CHECK(out.numel() == in.numel() * size(), "all_gather: ", in.numel(), " elements of ",
              size(), " ranks into ", out.numel());
  if (size() == 1) {
    if (out.const_data_ptr() != in.const_data_ptr()) out.view(-1).copy_(in.view(-1));
    return {};
  }
  return start(group_, {.kind = "all_gather", .values = out}, [&](c10d::Backend& backend) {
    at::Tensor to = out.view(-1), from = in.view(-1);
    return backend._allgather_base(to, from);
  });
}

std::vector<Pending> Communicator::reduce_segments(const at::Tensor& flat,
                                                   const std::vector<int64_t>& begins) const {
  require(*group_, "reduce_segments", flat);
  std::vector<Pending> pending;
  if (size() == 1 || flat.numel() == 0) return pending;
  const at::Tensor own = segment_of(flat, begins, rank());
  if (has_equal_segments(begins)) {
    pending.push_back(reduce_scatter(own, flat));
    return pending;
  }
  const std::vector<at::Tensor> segments = segments_of(flat, begins, size());
  if (runs_over_gloo(*group_, flat)) {
    for (size_t r = 0; r < segments.size(); ++r) {
      if (segments[r].numel() > 0) {
        pending.push_back(reduce_to(group_, segments[r], static_cast<int64_t>(r)));
      }
    }
    return pending;
  }
  // One reduction to each owner, in one launch.
  pending.push_back(start(group_, {.kind = "reduce_segments", .values = flat, .sums = true},
                          [&](c10d::Backend& backend) {
                            std::vector<at::Tensor> out = {own};
                            std::vector<std::vector<at::Tensor>> in = {segments};
                            return backend.reduce_scatter(out, in);
                          }));
  return pending;
}

std::vector<Pending> Communicator::gather_segments(const at::Tensor& flat,
                                                   const std::vector<int64_t>& begins) const {
  require(*group_, "gather_segments", flat);
  std::vector<Pending> pending;
  if (size() == 1 || flat.numel() == 0) return pending;
  const at::Tensor own = segment_of(flat, begins, rank());
  if (has_equal_segments(begins)) {
    pending.push_back(all_gather(flat, own));
    return pending;
  }
  const std::vector<at::Tensor> segments = segments_of(flat, begins, size());
  if (runs_over_gloo(*group_, flat)) {
    for (size_t r = 0; r < segments.size(); ++r) {
      if (segments[r].numel() > 0) {
        pending.push_back(broadcast(segments[r], static_cast<int64_t>(r)));
      }
    }
    return pending;
  }
  // One broadcast from each owner, in one launch.
  pending.push_back(
      start(group_, {.kind = "gather_segments", .values = flat}, [&](c10d::Backend& backend) {
        std::vector<std::vector<at::Tensor>> out = {segments};
        std::vector<at::Tensor> in = {own};
        return backend.allgather(out, in);
      }));
  return pending;
}

Pending Communicator::all_to_all(const at::Tensor& out, const at::Tensor& in,
                                 std::vector<int64_t> take, std::vector<int64_t> give) const {
  require(*group_, "all_to_all", in);
  require(*group_, "all_to_all", out);
  if (size() == 1) {
    out.copy_(in);
    return {};
  }
  return start(group_, {.kind = "all_to_all", .values = in}, [&](c10d::Backend& backend) {
    at::Tensor to = out, from = in;
    return backend.alltoall_base(to, from, take, give);
  });
}

Pending Communicator::broadcast(const at::Tensor& values, int64_t from) const {
  require(*group_, "broadcast", values);
  if (size() == 1) return {};
  return start(group_, {.kind = "broadcast from", .values = values, .peer = from},
               [&](c10d::Backend& backend) {
                 std::vector<at::Tensor> tensors = {values};
                 c10d::BroadcastOptions options;
                 options.rootRank = from;
                 return backend.broadcast(tensors, options);
               });
}

Pending Communicator::send(const at::Tensor& values, int64_t to, int tag) const {
  require(*group_, "send", values);
  TORCH_CHECK(to != rank(), "send: rank ", to, " is this one");
  return start(group_, {.kind = "send to", .values = values, .peer = to, .message = true},
               [&](c10d::Backend& backend) {
                 std::vector<at::Tensor> tensors = {values};
                 return backend.send(tensors, static_cast<int>(to), tag);
               });
}

Pending Communicator::receive(const at::Tensor& values, int64_t from, int tag) const {
  require(*group_, "receive", values);
  TORCH_CHECK(from != rank(), "receive: rank ", from, " is this one");
  return start(group_, {.kind = "receive from", .values = values, .peer = from, .message = true},
               [&](c10d::Backend& backend) {
                 std::vector<at::Tensor> tensors = {values};
                 return backend.recv(tensors, static_cast<int>(from), tag);
               });
}

void Communicator::barrier() const {
  if (size() == 1) return;
  start(group_, {.kind = "barrier", .values = at::empty({0})}, [](c10d::Backend& backend) {
    return backend.barrier();
  }).wait();
}

std::vector<std::string> Communicator::all_gather_text(const std::string& text) const {
  const auto integers = at::TensorOptions().dtype(at::kLong);
  const at::Tensor own = at::empty({1}, integers);
  *own.mutable_data_ptr<int64_t>() = static_cast<int64_t>(text.size());
  const at::Tensor lengths = at::empty({size()}, integers);
  all_gather(lengths, own).wait();
  const int64_t longest = std::max<int64_t>(lengths.max().item<int64_t>(), 1);
  const auto bytes = at::TensorOptions().dtype(at::kByte);
  const at::Tensor padded = at::zeros({longest}, bytes);
  std::memcpy(padded.mutable_data_ptr(), text.data(), text.size());
  const at::Tensor all = at::empty({size(), longest}, bytes);
  all_gather(all, padded).wait();
  std::vector<std::string> texts;
  for (int64_t r = 0; r < size(); ++r) {
    const char* begin = static_cast<const char*>(all.const_data_ptr()) + r * longest;
    const int64_t length = lengths.const_data_ptr<int64_t>()[r];
    texts.emplace_back(begin, static_cast<size_t>(length));
  }
  return texts;
}

}  // namespace praxino
