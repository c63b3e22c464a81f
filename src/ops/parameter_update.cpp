// The whole of praxino/ops/parameter_update.h: it exists in a build without CUDA, too, where it
// serves nothing.
#include "praxino/ops/parameter_update.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "kernel_registry.h"
#include "kernels/parameter_update.h"
#include "parameter_tables.h"
#include "praxino/ops/upload.h"
#if defined(PRAXINO_CUDA)
#include "launch_cuda.h"
#endif

namespace praxino::ops {
namespace {

using at::Tensor;
using kernels::Status;

// Runs launch(stream) beside the tensor, and turns what went wrong into an exception.
template <class Launch>
void launch_beside(const Tensor& tensor, const char* operation, [[maybe_unused]] Launch launch) {
#if defined(PRAXINO_CUDA)
  const cuda::Launching launching(tensor);
  cuda::Launching::check(launch(launching.stream()), operation);
#else
  TORCH_CHECK(false, operation, ": ", tensor.device().str(), " has no kernels in this build");
#endif
}

template <class Row>
Tensor on_device(const std::vector<Row>& rows, const at::Device& device) {
  const auto bytes = static_cast<int64_t>(rows.size() * sizeof(Row));
  const Tensor host = at::empty({bytes}, at::TensorOptions(at::kByte));
  if (bytes > 0) std::memcpy(host.mutable_data_ptr(), rows.data(), static_cast<size_t>(bytes));
  return upload(host, device);
}

float* floats(const Tensor& tensor) {
  return tensor.defined() ? tensor.mutable_data_ptr<float>() : nullptr;
}

kernels::Element element_of(const Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? kernels::Element::kBf16 : kernels::Element::kFloat;
}

}  // namespace

Tensor StepValues::norm() const { return all[kernels::kNorm]; }
Tensor StepValues::skipped() const { return all[kernels::kSkipped]; }
Tensor StepValues::average_weight() const { return all[kernels::kAverageWeight]; }

StepValues step_values(const Tensor& sums, const Tensor& loss, const Tensor& rate,
                       const Tensor& steps, const Tensor& updates, const StepRules& rules) {
  const StepValues values{at::empty({kernels::kStepValues}, sums.options())};
  const kernels::StepVerdict verdict{.sums = floats(sums),
                                     .count = sums.numel(),
                                     .loss = floats(loss),
                                     .rate = floats(rate),
                                     .steps = floats(steps),
                                     .updates = floats(updates),
                                     .values = floats(values.all),
                                     .clip = rules.clip,
                                     .beta1 = rules.betas[0],
                                     .beta2 = rules.betas[1],
                                     .average_decay = rules.average_decay};
  launch_beside(sums, "step_values", [&](kernels::Stream stream) {
    return kernels::launch_step_verdict(verdict, stream);
  });
  return values;
}

struct ParameterUpdate::Tables {
  struct Part {
    ParameterTable host;
    Tensor parameters, chunks;  // bytes on the device
    kernels::ParameterList list() const {
      return {
          .parameters = static_cast<const kernels::UpdatedParameter*>(parameters.const_data_ptr()),
          .chunks = static_cast<const kernels::ParameterChunk*>(chunks.const_data_ptr()),
          .chunk_count = static_cast<int64_t>(host.chunks.size())};
    }
    kernels::GradientList gradients(const std::vector<Tensor>& all) const;
  };
  std::vector<UpdatedParameter> parameters;  // keeps their memory
  std::vector<Part> parts;
  kernels::Element copy = kernels::Element::kBf16;
  int64_t elements = 0;

  const Tensor& first() const { return parameters.front().weight; }
};

kernels::GradientList ParameterUpdate::Tables::Part::gradients(
    const std::vector<Tensor>& all) const {
  kernels::GradientList list;
  if (host.parameters.empty()) return list;
  list.element = element_of(all.at(host.begin));
  for (size_t i = 0; i < host.parameters.size(); ++i) {
    const Tensor& gradient = all.at(host.begin + i);
    TORCH_CHECK(gradient.is_contiguous() && gradient.numel() == host.parameters[i].count &&
                    gradient.scalar_type() == all[host.begin].scalar_type(),
                "ParameterUpdate: gradient ", host.begin + i,
                " must be contiguous, of its "
                "weight's size and of the type of the others");
    list.of[i] = gradient.const_data_ptr();
  }
  return list;
}

bool ParameterUpdate::serves([[maybe_unused]] const Tensor& weight,
                             [[maybe_unused]] at::ScalarType gradients) {
#if defined(PRAXINO_CUDA)
  using cuda::Kernel;
  return weight.scalar_type() == at::kFloat &&
         cuda::usable(Kernel::step_values, weight, gradients) &&
         cuda::usable(Kernel::adamw, weight, gradients) &&
         cuda::usable(Kernel::muon, weight, gradients);
#else
  return false;
#endif
}

ParameterUpdate::ParameterUpdate(std::vector<UpdatedParameter> parameters)
    : tables_(std::make_unique<Tables>()) {
  for (ParameterTable& table : parameter_tables(parameters)) {
    const at::Device device = parameters.front().weight.device();
    Tables::Part part{.host = std::move(table), .parameters = {}, .chunks = {}};
    part.parameters = on_device(part.host.parameters, device);
    part.chunks = on_device(part.host.chunks, device);
    tables_->parts.push_back(std::move(part));
  }
  for (const UpdatedParameter& parameter : parameters) {
    tables_->elements += parameter.weight.numel();
    if (parameter.copy.defined()) tables_->copy = element_of(parameter.copy);
  }
  tables_->parameters = std::move(parameters);
}

ParameterUpdate::~ParameterUpdate() = default;
ParameterUpdate::ParameterUpdate(ParameterUpdate&&) noexcept = default;
ParameterUpdate& ParameterUpdate::operator=(ParameterUpdate&&) noexcept = default;

int64_t ParameterUpdate::sums() const {
  int64_t count = 0;
  for (const Tables::Part& part : tables_->parts) count += part.list().chunk_count;
  return count;
}

void ParameterUpdate::squared_sums(const std::vector<Tensor>& gradients, const Tensor& sums) const {
  int64_t begin = 0;
  for (const Tables::Part& part : tables_->parts) {
    const kernels::ParameterList list = part.list();
    const kernels::SquaredSums p{
        .list = list, .gradients = part.gradients(gradients), .sums = floats(sums) + begin};
    launch_beside(sums, "squared_sums",
                  [&](kernels::Stream stream) { return kernels::launch_squared_sums(p, stream); });
    begin += list.chunk_count;
  }
}

void ParameterUpdate::adamw(const std::vector<Tensor>& gradients, const StepValues& values,
                            std::array<double, 2> betas, double epsilon) const {
  for (const Tables::Part& part : tables_->parts) {
    const kernels::AdamW p{.list = part.list(),
                           .gradients = part.gradients(gradients),
                           .values = floats(values.all),
                           .beta1 = static_cast<float>(betas[0]),
                           .beta2 = static_cast<float>(betas[1]),
                           .epsilon = static_cast<float>(epsilon),
                           .copy = tables_->copy};
    launch_beside(values.all, "adamw",
                  [&](kernels::Stream stream) { return kernels::launch_adamw(p, stream); });
  }
}

Tensor ParameterUpdate::momentum(const std::vector<Tensor>& gradients, const StepValues& values,
                                 double momentum) const {
  const Tensor directions = at::empty({tables_->elements}, values.all.options());
  for (const Tables::Part& part : tables_->parts) {
    const kernels::MuonMomentum p{.list = part.list(),
                                  .gradients = part.gradients(gradients),
                                  .values = floats(values.all),
                                  .directions = floats(directions),
                                  .momentum = static_cast<float>(momentum)};
    launch_beside(values.all, "muon_momentum",
                  [&](kernels::Stream stream) { return kernels::launch_muon_momentum(p, stream); });
  }
  return directions;
}

void ParameterUpdate::apply(const Tensor& directions, const StepValues& values,
                            double scale) const {
  TORCH_CHECK(directions.is_contiguous() && directions.numel() == tables_->elements,
              "ParameterUpdate::apply: directions must be contiguous, ", tables_->elements,
              " elements, not ", directions.sizes());
  for (const Tables::Part& part : tables_->parts) {
    const kernels::MuonApply p{.list = part.list(),
                               .directions = directions.const_data_ptr(),
                               .values = floats(values.all),
                               .scale = static_cast<float>(scale),
                               .direction = element_of(directions),
                               .copy = tables_->copy};
    launch_beside(values.all, "muon_apply",
                  [&](kernels::Stream stream) { return kernels::launch_muon_apply(p, stream); });
  }
}

}  // namespace praxino::ops
