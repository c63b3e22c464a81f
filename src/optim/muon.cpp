#include "optim/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/add.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "praxino/base/processor.h"
#include "praxino/ops/planned_device.h"
#include "praxino/parallel/share.h"

namespace praxino {
namespace {

/// The largest batch of equal shapes: bounds the temporaries of a step to a few times 128 MiB.
constexpr int64_t kLargestBatch = int64_t{1} << 25;

/// bfloat16 halves the time where it is native (measured on an EPYC with avx512_bf16, with the same
/// singular values) and is many times slower where it is emulated.
at::ScalarType product_type(const at::Tensor& x) {
  return ops::computing_device(x) != at::kCPU || multiplies_bf16() ? at::kBFloat16 : at::kFloat;
}

}  // namespace

at::Tensor orthogonalize(const at::Tensor& batch) {
  return orthogonal_product(batch).to(at::kFloat);
}

at::Tensor orthogonal_product(const at::Tensor& batch) {
  constexpr double kA = 3.4445;
  constexpr double kB = -4.7750;
  constexpr double kC = 2.0315;
  constexpr int kIterations = 5;
  const bool tall = batch.size(1) > batch.size(2);
  const at::Tensor norm = at::linalg_vector_norm(batch, 2, {1, 2}, /*keepdim=*/true);
  at::Tensor x = (batch / norm.clamp_min(1e-30)).to(product_type(batch));
  if (tall) x = x.transpose(1, 2).contiguous();  // the smaller Gram matrix
  for (int i = 0; i < kIterations; ++i) {
    const at::Tensor gram = at::bmm(x, x.transpose(1, 2));
    const at::Tensor polynomial = at::baddbmm(gram, gram, gram, kB, kC);
    x = at::baddbmm(x, polynomial, x, kA);
  }
  return tall ? x.transpose(1, 2) : x;
}

double Muon::Group::scale() const {
  const std::vector<int64_t> sizes =
      slice ? slice->whole_sizes(momentum.sizes()) : momentum.sizes().vec();
  return std::sqrt(std::max(1.0, static_cast<double>(sizes[1]) / static_cast<double>(sizes[2])));
}

// The order of rows and columns does not matter: it is the order of the singular vectors' entries.
at::Tensor Muon::orthogonal(const at::Tensor& batch, const Group& group) const {
  if (!group.slice) return orthogonal_product(batch);
  const std::vector<int64_t> counts = share_counts(batch.size(0), tensor_.size());
  at::Tensor whole = trade_parts(batch, *group.slice, counts, tensor_);
  if (whole.size(0) > 0) whole = orthogonal_product(whole).contiguous();
  return trade_back(whole.to(product_type(batch)), *group.slice, counts, tensor_);
}

std::vector<ops::UpdatedParameter> Muon::updated(const Group& group) const {
  std::vector<ops::UpdatedParameter> updated;
  for (size_t i = 0; i < group.members.size(); ++i) {
    const std::shared_ptr<WeightCopy>& copy = copies_[group.members[i]];
    updated.push_back({.weight = parameters_[group.members[i]].detach(),
                       .first = group.momentum[static_cast<int64_t>(i)],
                       .second = {},
                       .average = {},
                       .copy = copy ? copy->lend() : at::Tensor(),
                       .rate = options_.peak_rate,
                       .decay = options_.weight_decay});
  }
  return updated;
}

Muon::Muon(Options options, const std::vector<Parameter>& parameters, const Communicator& tensor)
    : options_(options), tensor_(tensor) {
  // By the shape of the whole and how it is sliced: in the same order on all ranks.
  using Shape = std::tuple<std::vector<int64_t>, int64_t, std::vector<int64_t>>;
  std::map<Shape, std::vector<size_t>> by_shape;
  for (const Parameter& parameter : parameters) {
    TORCH_CHECK(parameter.value.dim() == 2, "Muon: ", parameter.name, " has ",
                parameter.value.dim(), " dimensions, a matrix has two");
    const at::IntArrayRef own = parameter.value.sizes();
    const Shape shape = parameter.slice ? Shape{parameter.slice->whole_sizes(own),
                                                parameter.slice->dim, parameter.slice->lengths()}
                                        : Shape{own.vec(), -1, {}};
    by_shape[shape].push_back(parameters_.size());
    names_.push_back(parameter.name);
    parameters_.push_back(parameter.value);
    copies_.push_back(parameter.copy);
  }
  for (const auto& [shape, members] : by_shape) {
    const int64_t matrix = std::max<int64_t>(c10::multiply_integers(std::get<0>(shape)), 1);
    const auto most = static_cast<size_t>(std::max<int64_t>(kLargestBatch / matrix, 1));
    for (size_t begin = 0; begin < members.size(); begin += most) {
      const size_t end = std::min(begin + most, members.size());
      Group group;
      group.members.assign(members.begin() + static_cast<std::ptrdiff_t>(begin),
                           members.begin() + static_cast<std::ptrdiff_t>(end));
      const at::Tensor like = parameters_[group.members.front()].detach();
      group.momentum = at::zeros({static_cast<int64_t>(end - begin), like.size(0), like.size(1)},
                                 like.options());
      group.slice = parameters[group.members.front()].slice;
      groups_.push_back(std::move(group));
    }
  }
}

at::Tensor Muon::advance(const Group& group, const std::vector<at::Tensor>& gradients,
                         const GradientCheck& check, double rate) const {
  std::vector<at::Tensor> members;
  for (const size_t member : group.members) members.push_back(gradients[member]);
  const at::Tensor share = (1 - options_.momentum) / check.divisor;
  // A step that is skipped multiplies by 1 and adds -0, the only number that changes no bit of any.
  const at::Tensor fresh = at::where(check.finite, at::stack(members).mul_(share), -0.0);
  at::Tensor momentum = group.momentum;
  momentum.mul_(at::where(check.finite, options_.momentum, 1.0).to(momentum.scalar_type()));
  momentum.add_(fresh);
  const at::Tensor direction =
      orthogonal(at::add(fresh, momentum, options_.momentum), group).to(at::kFloat);
  return at::where(check.finite, direction * (-options_.peak_rate * rate * group.scale()), -0.0);
}

void Muon::step(const std::vector<at::Tensor>& gradients, const GradientCheck& check,
                double rate) const {
  if (parameters_.empty()) return;
  const double decay = 1 - options_.peak_rate * rate * options_.weight_decay;
  const at::Tensor keep = at::where(check.finite, decay, 1.0).to(at::kFloat);
  for (const Group& group : groups_) {
    const std::vector<at::Tensor> change = advance(group, gradients, check, rate).unbind();
    std::vector<at::Tensor> weights;
    for (const size_t member : group.members) weights.push_back(parameters_[member]);
    at::_foreach_mul_(weights, keep);
    at::_foreach_add_(weights, change);
  }
}

void Muon::append_state(std::vector<std::pair<std::string, at::Tensor>>& state) const {
  for (const Group& group : groups_) {
    for (size_t i = 0; i < group.members.size(); ++i) {
      state.emplace_back("momentum." + names_[group.members[i]],
                         group.momentum[static_cast<int64_t>(i)]);
    }
  }
}

}  // namespace praxino
