#include "step_watch.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <fmt/format.h>

#include <cmath>

#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "report.h"

namespace praxino {
namespace {

c10::Event timed_event(const c10::Device& device) {
  c10::Event event(device.type(), c10::EventFlag::BACKEND_DEFAULT);
  event.record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  return event;
}

/// The copies of what is split over the tensor axis are on its replicas, all others on all ranks.
std::vector<ReplicaCheck> checks_of(const Mesh& mesh, const Parameters& model,
                                    const Parameters& own) {
  std::vector<ReplicaCheck> checks;
  for (const bool split : {false, true}) {
    ReplicaCheck::Copies copies{.rank = mesh.rank(), .names = {}, .values = {}, .owned = {}};
    for (const Parameter& parameter : model.all()) {
      if (parameter.slice.has_value() != split) continue;
      copies.names.push_back(parameter.name);
      copies.values.push_back(parameter.value);
      copies.owned.push_back(own.find(parameter.name) != nullptr);
    }
    const Communicator& group = split ? mesh.replicas() : mesh.all();
    if (!copies.names.empty() && group.size() > 1) checks.emplace_back(std::move(copies), group);
  }
  return checks;
}

std::vector<std::string> names_of(const Parameters& model) {
  std::vector<std::string> names;
  for (const Parameter& parameter : model.all()) names.push_back(parameter.name);
  return names;
}

}  // namespace

StepWatch::StepWatch(const RunConfig& config, const Ranks& ranks, const Parameters& model,
                     const Parameters& own)
    : ranks_(ranks),
      names_(names_of(model)),
      batch_(config.data.batch),  // without copies there is nothing to compare
      every_(config.parallel.shard_weights ? 0 : config.parallel.check_weights_every),
      checks_(checks_of(ranks.mesh(), model, own)),
      slow_(config.parallel.slow_factor, config.parallel.slow_steps),
      device_(model.all().front().value.device()) {}

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
  for (ReplicaCheck& check : checks_) check.require_equal(step_);
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
