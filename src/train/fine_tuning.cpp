#include "fine_tuning.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "praxino/base/error.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

/// Of the same shape, but for the number of rows.
bool fits(const std::vector<int64_t>* stored, const std::vector<int64_t>& wanted) {
  if (stored == nullptr || *stored == wanted) return stored != nullptr;
  return !stored->empty() && stored->size() == wanted.size() &&
         std::equal(stored->begin() + 1, stored->end(), wanted.begin() + 1);
}

/// The rows of the model's tensor that `parameter` holds, in its order.
std::vector<Share> rows_of(const Parameter& parameter) {
  if (const std::optional<Slice>& slice = parameter.slice; slice && slice->dim == 0)
    return slice->ranges[static_cast<size_t>(slice->rank)];
  return {{.begin = 0, .count = parameter.value.size(0)}};
}

void copy_common_rows(const at::Tensor& stored, const Parameter& parameter) {
  if (stored.dim() == 0) {
    parameter.value.copy_(stored);
    return;
  }
  const bool columns = parameter.slice && parameter.slice->dim == 1;
  const at::Tensor from = columns ? parameter.slice->part_of(stored) : stored;
  int64_t to = 0;
  for (const Share& rows : rows_of(parameter)) {
    const int64_t common = std::clamp<int64_t>(from.size(0) - rows.begin, 0, rows.count);
    if (common > 0) parameter.value.narrow(0, to, common).copy_(from.narrow(0, rows.begin, common));
    to += rows.count;
  }
}

}  // namespace

void tell_fit(const StoredWorld& source, const World& world) {
  const std::string from = source.weights.directory().string();
  for (const std::string& field : changed_fields(source.dataset.actions, world.fields)) {
    log::warning("the action field {}: its values reach the model in another scale", field);
  }
  const bool scaled = source.config.model.input_scaling;
  if (scaled != world.config.model.input_scaling) {
    log::warning(
        "{} was trained with model.input_scaling: {}; with the other value its weights read "
        "another input",
        from, scaled);
  }
  const std::vector<Parameter>& all = world.model->parameters().all();
  std::vector<std::string> missing;
  for (const Parameter& parameter : all) {
    const std::vector<int64_t>* const stored = source.weights.sizes(parameter.name);
    const std::vector<int64_t> wanted = parameter.whole_sizes();
    if (!fits(stored, wanted) || (!wanted.empty() && stored->front() < wanted.front()))
      missing.push_back(parameter.name);
  }
  if (missing.size() == all.size()) {
    fail("{}: none of its tensors fits this model; compare model.* of both configurations", from);
  }
  log::info("fine-tuning from {} (step {}): {} of {} tensors fit", from, source.step,
            all.size() - missing.size(), all.size());
  for (const std::string& name : missing) log::warning("not loaded, starts fresh: {}", name);
}

void adopt_weights(const StoredTensors& source, const Parameters& own) {
  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : own.all()) {
    if (fits(source.sizes(parameter.name), parameter.whole_sizes()))
      copy_common_rows(source.read(parameter.name), parameter);
  }
}

}  // namespace praxino
