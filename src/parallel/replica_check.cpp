#include "praxino/parallel/replica_check.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "praxino/base/error.h"
#include "praxino/base/hash.h"

namespace praxino {
namespace {

constexpr size_t kNamed = 3;  // tensors of each rank

at::Tensor hash_of(const at::Tensor& tensor) {
  const std::string_view bytes(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  return at::full({}, static_cast<int64_t>(xxh3_64(bytes)), at::TensorOptions().dtype(at::kLong));
}

/// The print that most ranks with that part have of copy `i`; of equally many, the owner's.
int64_t right_print(const std::vector<CopyPrints>& ranks, int64_t part, size_t i) {
  std::map<int64_t, int64_t> votes;
  for (const CopyPrints& rank : ranks) {
    if (rank.part == part) votes[rank.arrived[i]] += rank.owned[i] ? 3 : 2;
  }
  return std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; })->first;
}

std::string joined(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamed);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

std::string name_wrong_copies(const std::vector<std::string>& names,
                              const std::vector<CopyPrints>& ranks) {
  std::vector<std::string> lines;
  for (const CopyPrints& rank : ranks) {
    std::vector<std::string> changed, different;
    for (size_t i = 0; i < names.size(); ++i) {
      if (rank.now[i] != rank.arrived[i]) changed.push_back(names[i]);
      if (rank.arrived[i] != right_print(ranks, rank.part, i)) different.push_back(names[i]);
    }
    if (!changed.empty()) {
      lines.push_back(fmt::format("rank {}'s copy of {} has changed in its memory", rank.rank,
                                  joined(changed)));
    }
    if (!different.empty()) {
      lines.push_back(fmt::format("rank {}'s copy of {} is not what the others have", rank.rank,
                                  joined(different)));
    }
  }
  return fmt::format("{}", fmt::join(lines, "; "));
}

at::Tensor sum_of_words(const at::Tensor& tensor) {
  return tensor.detach().view(at::kInt).sum(at::kLong);
}

ReplicaCheck::ReplicaCheck(Copies copies, const Communicator& ranks)
    : copies_(std::move(copies)), ranks_(ranks) {}

at::Tensor ReplicaCheck::prints() const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> all;
  for (const at::Tensor& value : copies_.values) {
    all.push_back(value.is_cpu() ? hash_of(value) : sum_of_words(value));
  }
  return at::stack(all);
}

void ReplicaCheck::take_prints() { arrived_ = prints(); }

void ReplicaCheck::require_equal(int64_t step, std::chrono::milliseconds limit) {
  TORCH_CHECK(arrived_.defined(), "ReplicaCheck: take_prints() comes first");
  const auto count = static_cast<int64_t>(copies_.names.size());
  std::vector<int64_t> facts = {copies_.rank, copies_.part};
  facts.insert(facts.end(), copies_.owned.begin(), copies_.owned.end());
  const at::Tensor own = at::cat({at::tensor(facts, at::TensorOptions().dtype(at::kLong)),
                                  at::cat({arrived_, prints()}).cpu()});
  const at::Tensor all = at::empty({ranks_.size(), own.numel()}, own.options());
  ranks_.all_gather(all, own).wait(limit);
  arrived_ = at::Tensor();
  std::vector<CopyPrints> ranks;
  for (int64_t r = 0; r < ranks_.size(); ++r) {
    const int64_t* row = all.const_data_ptr<int64_t>() + r * own.numel();
    CopyPrints& prints = ranks.emplace_back();
    prints.rank = row[0];
    prints.part = row[1];
    const int64_t* of = row + 2;
    prints.owned.assign(of, of + count);
    prints.arrived.assign(of + count, of + 2 * count);
    prints.now.assign(of + 2 * count, of + 3 * count);
  }
  const std::string wrong = name_wrong_copies(copies_.names, ranks);
  if (wrong.empty()) return;
  fail(
      "the ranks' copies of the weights differ in step {}: {}; a bit has flipped in memory or on "
      "the way. Nothing of this step is kept: start again from the newest checkpoint, and without "
      "that rank's machine if it comes again",
      step, wrong);
}

}  // namespace praxino
