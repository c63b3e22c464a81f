#include "praxino/parallel/data_parallel.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <mutex>

#include "parallel/own_norms.h"
#include "parallel/segments.h"
#include "praxino/parallel/buckets.h"

namespace praxino {
namespace {

/// One flat piece of memory a kind. Gradients exist only while they are under way.
struct Bucket {
  at::Tensor weights;           // float32, all segments
  at::Tensor gradients;         // all segments, of this rank's micro-batches
  std::vector<size_t> members;  // parameters
  size_t missing = 0;           // gradients that have not come yet
  std::vector<Pending> work;
};

BucketPlan plan_for(const std::vector<at::Tensor>& parameters, int64_t ranks,
                    const DataParallelOptions& options) {
  // The last used is the first whose gradient is ready.
  std::vector<int64_t> sizes;
  for (size_t i = parameters.size(); i-- > 0;) {
    sizes.push_back(options.reserved_for(i, parameters[i].numel()));
  }
  const auto width = static_cast<int64_t>(c10::elementSize(options.gradients));
  BucketPlan plan = plan_buckets(sizes, ranks, std::max<int64_t>(options.bucket_bytes / width, 1));
  std::reverse(plan.places.begin(), plan.places.end());
  return plan;
}

}  // namespace

struct DataParallel::State {
  State(std::vector<at::Tensor> all, const Communicator& group, const DataParallelOptions& opt)
      : parameters(std::move(all)),
        ranks(group),
        options(opt),
        divisor(opt.divisor(group.size())),
        plan(plan_for(parameters, group.size(), opt)),
        buckets(plan.begins.size()),
        ready(parameters.size()),
        own(parameters.size(), parameters.front()) {
    move_weights();
  }

  void move_weights();
  void take(size_t parameter, const at::Tensor& gradient);
  void measure(const Bucket& bucket);
  void launch_full_buckets();
  void on_gradient(size_t parameter);
  at::Tensor part(const at::Tensor& flat, size_t parameter, int64_t begin) const {
    const at::Tensor& like = parameters[parameter];
    const int64_t offset = plan.places[parameter].offset - begin;
    return flat.narrow(0, offset, like.numel()).view(like.sizes());
  }
  Bucket& bucket_of(size_t parameter) {
    return buckets[static_cast<size_t>(plan.places[parameter].bucket)];
  }
  int64_t segment_begin(size_t bucket) const {
    return plan.begins[bucket][static_cast<size_t>(ranks.rank())];
  }

  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> owned;
  Communicator ranks;
  DataParallelOptions options;
  int64_t divisor;
  BucketPlan plan;
  std::vector<Bucket> buckets;
  std::vector<char> ready;  // whether a parameter's gradient of this step is in its bucket
  OwnNorms own;             // of what is in the buckets, before it is summed
  at::Tensor own_norms;     // of the last step
  size_t launched = 0;      // buckets, in this step
  bool last = false;        // whether the micro-batch under way is the last of its step
  std::mutex mutex;         // hooks run on the threads of backward()
};

void DataParallel::State::move_weights() {
  const at::NoGradGuard no_grad;
  for (size_t b = 0; b < buckets.size(); ++b) {
    buckets[b].weights = at::zeros({plan.begins[b].back()}, parameters.front().detach().options());
  }
  owned.resize(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor& parameter = parameters[i];
    Bucket& bucket = bucket_of(i);
    const at::Tensor place = part(bucket.weights, i, 0);
    place.copy_(parameter);
    parameter.set_data(place);
    bucket.members.push_back(i);
    if (plan.places[i].rank != ranks.rank()) continue;
    owned[i] = place.detach();
    owned[i].requires_grad_(parameter.requires_grad());
  }
}

// A bucket's gradients are scaled as they are copied, so that the sum over ranks is the average.
void DataParallel::State::take(size_t parameter, const at::Tensor& gradient) {
  Bucket& bucket = bucket_of(parameter);
  if (!bucket.gradients.defined()) {
    bucket.gradients =
        at::zeros(bucket.weights.sizes(), bucket.weights.options().dtype(options.gradients));
    bucket.missing = bucket.members.size();
  }
  if (gradient.defined()) {
    at::Tensor place = part(bucket.gradients, parameter, 0);
    at::mul_out(place, gradient, at::scalar_tensor(1.0 / static_cast<double>(divisor)));
  }
  ready[parameter] = 1;
  --bucket.missing;
}

void DataParallel::State::measure(const Bucket& bucket) {
  std::vector<at::Tensor> gradients;
  for (const size_t i : bucket.members) gradients.push_back(part(bucket.gradients, i, 0));
  own.add(bucket.members, gradients);
}

// In their order whatever the order of the gradients: it must be the same on every rank.
void DataParallel::State::launch_full_buckets() {
  while (launched < buckets.size()) {
    Bucket& bucket = buckets[launched];
    if (!bucket.gradients.defined() || bucket.missing > 0) return;
    measure(bucket);
    bucket.work = ranks.reduce_segments(bucket.gradients, plan.begins[launched]);
    ++launched;
  }
}

void DataParallel::State::on_gradient(size_t parameter) {
  const std::lock_guard lock(mutex);
  if (!last) return;
  TORCH_CHECK(!ready[parameter], "DataParallel: parameter ", parameter,
              " has two gradients in one backward pass; use it in one checkpointed block only");
  const at::NoGradGuard no_grad;
  at::Tensor& leaf = parameters[parameter];
  take(parameter, leaf.grad());
  leaf.mutable_grad() = at::Tensor();
  launch_full_buckets();
}

DataParallel::DataParallel(std::vector<at::Tensor> parameters, const Communicator& ranks,
                           const DataParallelOptions& options) {
  TORCH_CHECK(!parameters.empty(), "DataParallel: there are no parameters");
  state_ = std::make_shared<State>(std::move(parameters), ranks, options);
  struct OnGradient final : torch::autograd::PostAccumulateGradHook {
    OnGradient(std::weak_ptr<State> s, size_t i) : state(std::move(s)), parameter(i) {}
    void operator()(const at::Tensor&) override {
      if (const std::shared_ptr<State> held = state.lock()) held->on_gradient(parameter);
    }
    std::weak_ptr<State> state;
    size_t parameter;
  };
  for (size_t i = 0; i < state_->parameters.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(state_->parameters[i],
                                                   std::make_unique<OnGradient>(state_, i));
  }
}

DataParallel::~DataParallel() {
  for (const at::Tensor& parameter : state_->parameters) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

bool DataParallel::owns(size_t i) const { return state_->owned[i].defined(); }
const std::vector<at::Tensor>& DataParallel::owned() const { return state_->owned; }
const at::Tensor& DataParallel::own_norms() const { return state_->own_norms; }

void DataParallel::before_backward(bool last) {
  const std::lock_guard lock(state_->mutex);
  state_->last = last;
}

void DataParallel::reduce_gradients() {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < s.parameters.size(); ++i) {
    if (s.ready[i]) continue;
    s.take(i, s.parameters[i].grad());  // of earlier micro-batches, or none
    s.parameters[i].mutable_grad() = at::Tensor();
  }
  s.launch_full_buckets();
  for (size_t b = 0; b < s.buckets.size(); ++b) {
    Bucket& bucket = s.buckets[b];
    wait_for(bucket.work);
    const at::Tensor reduced = segment_of(bucket.gradients, s.plan.begins[b], s.ranks.rank())
                                   .to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
    bucket.gradients = at::Tensor();
    for (const size_t i : bucket.members) {
      if (s.owned[i].defined() && s.owned[i].requires_grad()) {
        s.owned[i].mutable_grad() = s.part(reduced, i, s.segment_begin(b));
      }
    }
  }
  std::fill(s.ready.begin(), s.ready.end(), char{0});
  s.own_norms = s.own.take();
  s.launched = 0;
  s.last = false;
}

void DataParallel::gather_weights() {
  State& s = *state_;
  const at::NoGradGuard no_grad;
  // The first used comes first: the buckets are in the order of gradients, which is the opposite.
  for (size_t b = s.buckets.size(); b-- > 0;) {
    s.buckets[b].work = s.ranks.gather_segments(s.buckets[b].weights, s.plan.begins[b]);
  }
}

void DataParallel::wait_for_weights() {
  for (size_t b = state_->buckets.size(); b-- > 0;) wait_for(state_->buckets[b].work);
}

int64_t DataParallel::owned_bytes() const {
  int64_t bytes = 0;
  for (const at::Tensor& weight : state_->owned) {
    if (weight.defined()) bytes += static_cast<int64_t>(weight.nbytes());
  }
  return bytes;
}

}  // namespace praxino
