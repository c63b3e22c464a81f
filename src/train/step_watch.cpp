#include "step_watch.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <fmt/format.h>

#include <cmath>

#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/parallel/weight_shards.h"
#include "report.h"

namespace praxino {
namespace {

c10::Event timed_event(const c10::Device& device) {
  c10::Event event(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return event;
}

/// Of what is split over the tensor axis each coordinate has a part of its own. Blocks whose
/// weights are sharded come and go: of those there are no copies.
std::vector<ReplicaCheck> checks_of(const Mesh& mesh, const WorldModel& model,
                                    const Parameters& own, bool sharded) {
  std::vector<ReplicaCheck> checks;
  const std::vector<Parameter>& all = model.parameters().all();
  for (const bool split : {false, true}) {
    ReplicaCheck::Copies copies{.rank = mesh.rank(),
                                .part = split ? mesh.place().tensor : 0,
                                .names = {},
                                .values = {},
                                .owned = {}};
    for (size_t i = 0; i < all.size(); ++i) {
      const Parameter& parameter = all[i];
      if (parameter.slice.has_value() != split) continue;
      if (sharded && model.block_of_parameters()[i] != UnitParameters::kResident) continue;
      copies.names.push_back(parameter.name);
      copies.values.push_back(parameter.value);
      copies.owned.push_back(own.find(parameter.name) != nullptr);
    }
    if (!copies.names.empty()) checks.emplace_back(std::move(copies), mesh.world());
  }
  return checks;
}

std::vector<std::string> names_of(const Parameters& model) {
  std::vector<std::string> names;
  for (const Parameter& parameter : model.all()) names.push_back(parameter.name);
  return names;
}

}  // namespace

StepWatch::StepWatch(const RunConfig& config, const Ranks& ranks, const WorldModel& model,
                     const Parameters& own)
    : ranks_(ranks),
      names_(names_of(model.parameters())),
      batch_(config.data.batch),
      every_(config.parallel.check_weights_every),
      checks_(checks_of(ranks.mesh(), model, own, config.parallel.shard_weights)),
      slow_(config.parallel.slow_factor, config.parallel.slow_steps),
      device_(model.parameters().all().front().value.device()) {}

void StepWatch::begins(int64_t step) {
  step_ = step;
  checking_ = every_ > 0 && step % every_ == 0;
}

double StepWatch::waited() const {
  double sum = 0;
  for (const auto& [name, seconds] : ranks_.mesh().waited()) sum += seconds;
  return sum;
}

void StepWatch::weights_arrived() {
  if (checking_) {
    for (ReplicaCheck& check : checks_) check.take_prints();
  }
  if (device_.is_cpu()) {
    waited_ = waited();
    began_ = monotonic_seconds();
  } else {
    events_.emplace_back(timed_event(device_), timed_event(device_));
  }
}

void StepWatch::backward_done() {
  if (device_.is_cpu()) {
    seconds_ = monotonic_seconds() - began_ - (waited() - waited_);
  } else {
    events_.back().second = timed_event(device_);
  }
  if (!checking_) return;
  for (ReplicaCheck& check : checks_) check.require_equal(step_, ranks_.mesh().silence());
}

void StepWatch::tell_own_part(const ArrivedScalars& step,
                              const std::vector<int64_t>& samples) const {
  // A loss that is not finite makes all gradients so.
  const bool loss = !std::isfinite(step.value("own/loss"));
  const auto spoiled = static_cast<size_t>(step.value("own/spoiled_gradient"));
  if (!loss && spoiled == 0) return;
  const std::string what = loss ? "loss" : "gradient";
  const std::string where = loss ? "" : fmt::format("first in {}; ", names_[spoiled - 1]);
  std::vector<int64_t> own;
  const int64_t rows = batch_ / ranks_.data_ranks();
  for (size_t i = 0; i < samples.size(); ++i) {
    if (static_cast<int64_t>(i) % batch_ / rows == ranks_.data_rank()) own.push_back(samples[i]);
  }
  log::warning("step {}: the {} of rank {} is not finite; {}its samples {}", step.step, what,
               ranks_.mesh().rank(), where, format_samples(own));
}

void StepWatch::compare(const std::vector<RankPace>& paces) {
  for (const std::string& line : slow_.add(paces)) {
    if (ranks_.first()) log::warning("{}", line);
  }
}

double StepWatch::compute_seconds() {
  while (!events_.empty() && events_.front().second.query()) {
    seconds_ = 1e-3 * events_.front().first.elapsedTime(events_.front().second);
    events_.pop_front();
  }
  return seconds_;
}

}  // namespace praxino
