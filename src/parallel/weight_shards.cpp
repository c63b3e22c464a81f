#include "praxino/parallel/weight_shards.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "parallel/own_norms.h"
#include "parallel/segments.h"
#include "praxino/parallel/buckets.h"

namespace praxino {
namespace {

constexpr size_t kBuffers = 2;  // units that are here at a time: the one that runs and the next

/// The parameters that come and go together. Flat tensors hold all ranks' segments one after the
/// other.
struct Unit {
  std::vector<size_t> members;    // parameters
  std::vector<int64_t> begins;    // of every rank's segment, and the end
  bool resident = false;          // never dropped
  at::Tensor own;                 // float32: the masters, this rank's segment alone
  at::Tensor buffer;              // that the unit lies in; undefined where it is not here
  at::Tensor whole;               // float32, flat: as much of the buffer as the unit takes
  std::vector<Pending> bringing;  // under way into `whole`
  bool shown = false;             // whether the parameters lie in `whole`
  at::Tensor gradients;           // flat, of one micro-batch, while they are under way
  std::vector<Pending> reducing;
  at::Tensor sum;  // float32: this rank's segment of the gradients of all micro-batches so far

  int64_t elements() const { return begins.back(); }
  at::Tensor segment(const at::Tensor& flat, int64_t rank) const {
    return segment_of(flat, begins, rank);
  }
};

int64_t count_units(const std::vector<int64_t>& units) {
  return units.empty() ? 0 : *std::max_element(units.begin(), units.end()) + 1;
}

}  // namespace

struct WeightShards::State {
  State(UnitParameters all, const Communicator& group, const DataParallelOptions& opt);

  void take_over(Unit& unit);
  void provide(Unit& unit);
  void start(Unit& unit);
  void show(Unit& unit);
  void drop(Unit& unit);
  void hide(const Unit& unit);
  void reduce(Unit& unit);
  void settle(Unit& unit);
  at::Tensor place(const at::Tensor& flat, size_t parameter, int64_t begin) const {
    const at::Tensor& like = parameters.values[parameter];
    return flat.narrow(0, places[parameter].offset - begin, like.numel()).view(like.sizes());
  }
  /// `number` from a caller; undefined numbers are those of no unit.
  Unit* unit_of(int64_t number) {
    return number >= 0 && number < resident() ? &units[static_cast<size_t>(number)] : nullptr;
  }
  int64_t resident() const { return static_cast<int64_t>(units.size()) - 1; }

  UnitParameters parameters;
  Communicator ranks;
  DataParallelOptions options;
  double scale;
  at::Tensor absent;  // one NaN: what a parameter's handle shows where its unit is not here
  std::vector<BucketPlace> places;
  std::vector<Unit> units;  // the last one: what is resident
  std::vector<at::Tensor> owned;
  OwnNorms leaves;                // of the gradients that leave, before they are summed
  at::Tensor own_norms;           // of the last step
  int64_t largest = 0;            // elements of a unit that comes and goes
  std::vector<at::Tensor> spare;  // buffers of that length, kept: nothing is allocated in a step
  at::Tensor gradients;           // the same for the gradients of one unit
  Unit* leaving = nullptr;        // whose gradients are under way
  bool in_step = false;           // from the first before_backward() to reduce_gradients()
  bool last = false;              // whether the micro-batch under way is the last of its step
};

WeightShards::State::State(UnitParameters all, const Communicator& group,
                           const DataParallelOptions& opt)
    : parameters(std::move(all)),
      ranks(group),
      options(opt),
      scale(1.0 / static_cast<double>(opt.divisor(group.size()))),
      owned(parameters.values.size()),
      leaves(parameters.values.size(), parameters.values.front()) {
  const int64_t count = count_units(parameters.units);
  units.resize(static_cast<size_t>(count) + 1);
  units.back().resident = true;
  std::vector<ShardedSize> sizes;
  for (size_t i = 0; i < parameters.values.size(); ++i) {
    const int64_t own = parameters.units[i];
    const int64_t unit = own == UnitParameters::kResident ? count : own;
    const int64_t elements = parameters.values[i].numel();
    sizes.push_back(
        {.unit = unit, .elements = elements, .reserved = options.reserved_for(i, elements)});
    units[static_cast<size_t>(unit)].members.push_back(i);
  }
  BucketPlan plan = plan_shards(sizes, count + 1, ranks.size());
  places = std::move(plan.places);
  const at::NoGradGuard no_grad;
  absent = at::full({1}, std::numeric_limits<double>::quiet_NaN(),
                    parameters.values.front().detach().options());
  for (size_t u = 0; u < units.size(); ++u) {
    units[u].begins = std::move(plan.begins[u]);
    if (!units[u].resident) largest = std::max(largest, units[u].elements());
  }
  gradients = at::empty({largest}, absent.options().dtype(options.gradients));
  for (Unit& unit : units) take_over(unit);
}

void WeightShards::State::provide(Unit& unit) {
  if (unit.buffer.defined()) return;
  if (unit.resident || spare.empty()) {
    unit.buffer = at::empty({unit.resident ? unit.elements() : largest}, absent.options());
  } else {
    unit.buffer = std::move(spare.back());
    spare.pop_back();
  }
  unit.whole = unit.buffer.narrow(0, 0, unit.elements());
}

// One unit after the other, so that the parameters' first memory, where they have any, is given
// back in between.
void WeightShards::State::take_over(Unit& unit) {
  const int64_t begin = unit.begins[static_cast<size_t>(ranks.rank())];
  const int64_t end = unit.begins[static_cast<size_t>(ranks.rank()) + 1];
  unit.own = at::zeros({end - begin}, absent.options());
  for (const size_t i : unit.members) {
    if (places[i].rank != ranks.rank()) continue;
    owned[i] = place(unit.own, i, begin).detach();
    owned[i].copy_(parameters.values[i]);
    owned[i].requires_grad_(parameters.values[i].requires_grad());
  }
  if (!unit.resident) return hide(unit);
  provide(unit);
  unit.whole.zero_();
  for (const size_t i : unit.members) place(unit.whole, i, 0).copy_(parameters.values[i]);
  show(unit);
}

void WeightShards::State::start(Unit& unit) {
  provide(unit);
  unit.segment(unit.whole, ranks.rank()).copy_(unit.own);
  unit.bringing = ranks.gather_segments(unit.whole, unit.begins);
}

void WeightShards::State::show(Unit& unit) {
  wait_for(unit.bringing);
  if (std::exchange(unit.shown, true)) return;
  for (const size_t i : unit.members) parameters.values[i].set_data(place(unit.whole, i, 0));
}

void WeightShards::State::drop(Unit& unit) {
  wait_for(unit.bringing);
  if (std::exchange(unit.shown, false)) hide(unit);
  unit.whole = at::Tensor();
  if (!unit.buffer.defined()) return;
  if (spare.size() < kBuffers) spare.push_back(unit.buffer);
  unit.buffer = at::Tensor();
}

void WeightShards::State::hide(const Unit& unit) {
  for (const size_t i : unit.members) {
    at::Tensor& parameter = parameters.values[i];
    parameter.set_data(absent.expand(parameter.sizes()));
  }
}

// A gradient is scaled as it is copied. A parameter without one counts as zero.
void WeightShards::State::reduce(Unit& unit) {
  if (unit.resident) {
    unit.gradients = at::empty({unit.elements()}, absent.options().dtype(options.gradients));
  } else {
    unit.gradients = gradients.narrow(0, 0, unit.elements());
  }
  unit.gradients.zero_();
  std::vector<at::Tensor> measured;
  for (const size_t i : unit.members) {
    at::Tensor& parameter = parameters.values[i];
    at::Tensor& to = measured.emplace_back(place(unit.gradients, i, 0));
    if (parameter.grad().defined()) {
      at::mul_out(to, parameter.grad(), at::scalar_tensor(scale));
    }
    parameter.mutable_grad() = at::Tensor();
  }
  leaves.add(unit.members, measured);
  unit.reducing = ranks.reduce_segments(unit.gradients, unit.begins);
}

void WeightShards::State::settle(Unit& unit) {
  wait_for(unit.reducing);
  if (!unit.gradients.defined()) return;
  const at::Tensor own = unit.segment(unit.gradients, ranks.rank());
  if (unit.sum.defined()) {
    unit.sum.add_(own);
  } else {
    unit.sum = own.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  }
  unit.gradients = at::Tensor();
}

WeightShards::WeightShards(UnitParameters parameters, const Communicator& ranks,
                           const DataParallelOptions& options) {
  TORCH_CHECK(!parameters.values.empty(), "WeightShards: there are no parameters");
  TORCH_CHECK(parameters.values.size() == parameters.units.size(),
              "WeightShards: ", parameters.values.size(), " parameters with ",
              parameters.units.size(), " units");
  state_ = std::make_unique<State>(std::move(parameters), ranks, options);
}

WeightShards::~WeightShards() = default;

bool WeightShards::owns(size_t i) const { return state_->owned[i].defined(); }
const std::vector<at::Tensor>& WeightShards::owned() const { return state_->owned; }
const at::Tensor& WeightShards::own_norms() const { return state_->own_norms; }

void WeightShards::bring(int64_t number, bool backward) {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  Unit* const unit = s.unit_of(number);
  if (unit == nullptr) return;
  if (!unit->whole.defined()) s.start(*unit);
  s.show(*unit);
  int64_t after = backward ? number - 1 : number + 1;
  if (after == s.resident() && !s.in_step) after = 0;  // another forward pass follows
  Unit* const next = s.unit_of(after);
  if (next != nullptr && !next->whole.defined()) s.start(*next);
}

void WeightShards::release(int64_t number, bool backward) {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  Unit* const unit = s.unit_of(number);
  if (unit == nullptr) return;
  const bool stays = backward ? number == 0 && !s.last : s.in_step && number + 1 == s.resident();
  if (!stays) s.drop(*unit);
  if (!backward) return;
  // Those of the unit before had a whole unit's time to travel.
  if (s.leaving != nullptr) s.settle(*s.leaving);
  s.reduce(*unit);
  s.leaving = unit;
}

void WeightShards::before_backward(bool last) {
  state_->in_step = true;
  state_->last = last;
}

void WeightShards::reduce_gradients() {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  if (s.leaving != nullptr) s.settle(*std::exchange(s.leaving, nullptr));
  s.reduce(s.units.back());
  s.settle(s.units.back());
  for (Unit& unit : s.units) {
    const int64_t begin = unit.begins[static_cast<size_t>(s.ranks.rank())];
    for (const size_t i : unit.members) {
      TORCH_CHECK(!s.parameters.values[i].grad().defined(), "WeightShards: parameter ", i,
                  " of a unit has a gradient from outside of it");
      if (unit.sum.defined() && s.owned[i].defined() && s.owned[i].requires_grad()) {
        s.owned[i].mutable_grad() = s.place(unit.sum, i, begin);
      }
    }
    unit.sum = at::Tensor();
  }
  s.own_norms = s.leaves.take();
  s.in_step = s.last = false;
}

void WeightShards::gather_weights() {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  for (Unit& unit : s.units) {
    if (!unit.resident) s.drop(unit);
  }
  s.start(s.units.back());
  if (Unit* const first = s.unit_of(0)) s.start(*first);
}

void WeightShards::wait_for_weights() {
  for (Unit& unit : state_->units) wait_for(unit.bringing);
}

int64_t WeightShards::owned_bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor& weight : state_->owned) {
    if (weight.defined()) bytes += static_cast<int64_t>(weight.nbytes());
  }
  return bytes;
}

}  // namespace praxino
