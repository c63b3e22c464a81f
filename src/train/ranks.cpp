#include "ranks.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/first_line.h"
#include "praxino/base/hash.h"
#include "praxino/base/signals.h"
#include "praxino/base/version.h"
#include "praxino/config/load.h"
#include "report.h"

namespace praxino {
namespace {

/// How a piece of work on a rank ended, as text for the others.
struct Outcome {
  static constexpr const char* kDone = "done";
  static constexpr const char* kFailed = "failed ";
  static constexpr const char* kUsage = "usage ";
  static constexpr const char* kStopped = "stopped ";
};

/// Runs it and says how it ended.
std::string outcome_of(const std::function<void()>& work) {
  try {
    work();
    return Outcome::kDone;
  } catch (const Error& error) {
    return (error.kind() == ErrorKind::kUsage ? Outcome::kUsage : Outcome::kFailed) +
           std::string(error.what());
  } catch (const Stopped& stopped) {
    return fmt::format("{}{}", Outcome::kStopped, stopped.exit_code());
  } catch (const std::exception& error) {  // no memory, say: the others wait for a word
    return Outcome::kFailed + first_line(error);
  }
}

/// `whose`: named before the words.
void require_done(const std::string& text, const std::string& whose = {}) {
  if (text == Outcome::kDone) return;
  if (text.starts_with(Outcome::kStopped)) {
    throw Stopped(std::stoi(text.substr(std::string_view(Outcome::kStopped).size())));
  }
  if (text.starts_with(Outcome::kUsage)) {
    throw Error(whose + text.substr(std::string_view(Outcome::kUsage).size()), ErrorKind::kUsage);
  }
  throw Error(whose + text.substr(std::string_view(Outcome::kFailed).size()));
}

}  // namespace

Ranks::Ranks(std::shared_ptr<const Mesh> mesh) : mesh_(std::move(mesh)) {}

ModelRanks Ranks::model_ranks() const {
  if (!several()) return {};
  return {.tensor = mesh_->tensor(), .context = mesh_->context()};
}

void Ranks::require_equal(const std::string& what, const std::string& text) const {
  if (!several()) return;
  const std::vector<std::string> all = mesh_->world().all_gather_text(text);
  for (size_t rank = 1; rank < all.size(); ++rank) {
    const std::string difference = first_difference(all.front(), all[rank]);
    if (!difference.empty()) {
      fail_usage(
          "rank {} of {} has another {} than rank 0: {}; start all ranks from the same files "
          "with the same arguments",
          rank, all.size(), what, difference);
    }
  }
}

void Ranks::on_first(const std::function<void()>& work) const {
  if (!several()) return work();
  require_done(agree(first() ? outcome_of(work) : std::string()));
}

void Ranks::on_all(const std::function<void()>& work) const {
  if (!several()) return work();
  const std::vector<std::string> outcomes = mesh_->world().all_gather_text(outcome_of(work));
  for (size_t rank = 0; rank < outcomes.size(); ++rank)
    require_done(outcomes[rank], fmt::format("rank {}: ", rank));
}

std::string Ranks::agree(const std::string& text) const {
  return several() ? mesh_->world().all_gather_text(text).front() : text;
}

int64_t Ranks::agree(int64_t number) const {
  if (!several()) return number;
  const at::Tensor shared = at::tensor(number);
  mesh_->world().broadcast(shared, 0).wait();
  return shared.item<int64_t>();
}

int64_t Ranks::reduced(int64_t number, Reduce how, std::chrono::milliseconds limit) const {
  if (!several()) return number;
  const at::Tensor shared = at::tensor(number);
  mesh_->world().all_reduce(shared, how).wait(limit);
  return shared.item<int64_t>();
}

int64_t Ranks::sum(int64_t number) const { return reduced(number, Reduce::kSum, {}); }
int64_t Ranks::most(int64_t number) const { return reduced(number, Reduce::kMax, {}); }

int64_t Ranks::sum_in_training(int64_t number) const {
  return several() ? reduced(number, Reduce::kSum, mesh_->silence()) : number;
}

void Ranks::step_begins(int64_t step) const {
  if (several()) mesh_->step_begins(step);
}

void Ranks::step_ends() const {
  if (several()) mesh_->step_ends();
}

// One row of numbers: three for all, then two of each rank.
void Ranks::exchange(const Moment& seen) {
  exchanged_ = at::zeros({3 + 2 * mesh_->ranks()}, at::TensorOptions().dtype(at::kDouble));
  double* values = exchanged_.mutable_data_ptr<double>();
  // Rank 0's clock is the one that counts; the others' are no later than the beginning.
  values[0] = static_cast<double>(seen.stop);
  values[1] = first() ? seen.elapsed : 0.0;
  values[2] = seen.save_failed ? 1.0 : 0.0;
  if (!seen.paces.empty()) {
    values[3 + 2 * mesh_->rank()] = seen.paces.front().compute;
    values[4 + 2 * mesh_->rank()] = seen.paces.front().loader;
  }
  pending_ = mesh_->world().all_reduce(exchanged_, Reduce::kMax);
}

const Moment& Ranks::moment() {
  if (!exchanged_.defined()) return last_;
  pending_.wait(mesh_->silence());
  const double* values = exchanged_.const_data_ptr<double>();
  last_ = {
      .stop = static_cast<int>(values[0]), .elapsed = values[1], .save_failed = values[2] != 0};
  for (int64_t rank = 0; rank < mesh_->ranks(); ++rank) {
    last_.paces.push_back({.compute = values[3 + 2 * rank], .loader = values[4 + 2 * rank]});
  }
  exchanged_ = at::Tensor();
  return last_;
}

EvalTeam Ranks::eval_team() const {
  if (!several()) return {};
  return {
      .member = data_rank(),
      .members = data_ranks(),
      .share =
          [mesh = mesh_](const std::string& text) {
            const std::vector<std::string> of_world = mesh->world().all_gather_text(text);
            std::vector<std::string> of_members;
            MeshPlace place = mesh->place();
            for (place.data = 0; place.data < mesh->shape().data; ++place.data)
              of_members.push_back(of_world[static_cast<size_t>(mesh_rank(mesh->shape(), place))]);
            return of_members;
          },
      .share_with_all =
          [mesh = mesh_](const std::string& text) { return mesh->world().all_gather_text(text); }};
}

SaveGroup Ranks::save_group() const {
  if (!several()) return {};
  return {.rank = mesh_->rank(),
          .ranks = mesh_->ranks(),
          .exchange = [mesh = mesh_](const std::string& text) {
            return mesh->background().all_gather_text(text);
          }};
}

void Ranks::average(std::vector<at::Tensor>& scalars) const {
  if (!several()) return;
  const at::Tensor joined = at::stack(scalars).div_(static_cast<double>(data_ranks()));
  mesh_->data().all_reduce(joined).wait();
  scalars = joined.unbind();
}

std::string agreement(const RunConfig& config, const MeshShape& shape) {
  const MappedFile program("/proc/self/exe");
  return fmt::format(
      "praxino: {}, program {:016x}\nmesh: data {} x context {} x tensor {}\n{}", version(),
      xxh3_64({reinterpret_cast<const char*>(program.bytes().data()), program.bytes().size()}),
      shape.data, shape.context, shape.tensor, to_yaml(config));
}

}  // namespace praxino
