// Products of shared tokens against ops::linear() beside differentiable collectives: to the bit.
#include "praxino/layers/token_products.h"

#include <ATen/ops/empty.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>
#include <thread>

#include "praxino/ops/linear.h"
#include "praxino/parallel/exchange.h"
#include "praxino/parallel/mesh.h"
#include "support/tensors.h"

namespace praxino {
namespace {

using testing::normal;
using testing::same_bits;
using Tensors = std::vector<at::Tensor>;

constexpr int64_t kBatch = 2, kFrames = 3, kWidth = 24, kTokens = 2;

std::vector<ops::Matrix> matrices(const Tensors& weights) {
  return {weights.begin(), weights.end()};
}

/// This rank's tokens and weights as leaves, the same values whenever they are made.
struct Leaves {
  Leaves(const std::vector<int64_t>& counts, int64_t rank, size_t matrices, at::ScalarType type) {
    const auto own = static_cast<uint64_t>(rank);
    tokens = normal({kBatch, kFrames, counts[own], kWidth}, 10 + own).to(type).requires_grad_();
    for (uint64_t i = 0; i < matrices; ++i) {
      const auto rows = static_cast<int64_t>(5 + 3 * i);
      weights.push_back(normal({rows, kWidth}, 20 + 7 * i + own).requires_grad_());
    }
  }
  Tensors gradients() const {
    Tensors all = {tokens.grad()};
    for (const at::Tensor& weight : weights) all.push_back(weight.grad());
    return all;
  }
  at::Tensor tokens;
  Tensors weights;
};

/// The results, and then gradients of a sum in which every result counts differently.
Tensors differentiated(const Tensors& results, const Leaves& leaves) {
  at::Tensor loss;
  uint64_t seed = 50;
  for (const at::Tensor& y : results) {
    const at::Tensor term = (y.to(at::kFloat) * normal(y.sizes(), seed++)).sum();
    loss = loss.defined() ? loss + term : term;
  }
  loss.backward();
  Tensors all = results;
  for (const at::Tensor& grad : leaves.gradients()) all.push_back(grad);
  return all;
}

void expect_same_bits(const Tensors& got, const Tensors& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(got[i].defined()) << i;
    EXPECT_EQ(got[i].scalar_type(), want[i].scalar_type()) << i;
    EXPECT_TRUE(same_bits(got[i], want[i])) << i;
  }
}

struct Case {
  const char* name = "";
  std::vector<int64_t> counts;
  size_t matrices = 1;
  at::ScalarType type = at::kFloat;
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class TokenProducts : public ::testing::TestWithParam<Case> {
 protected:
  void run(const std::function<void(const Communicator&, const Leaves&, const Leaves&)>& test) {
    const Case& about = GetParam();
    run_as_threads({.tensor = static_cast<int64_t>(about.counts.size())}, [&](Mesh& mesh) {
      const auto leaves = [&] {
        return Leaves(about.counts, mesh.tensor().rank(), about.matrices, about.type);
      };
      test(mesh.tensor(), leaves(), leaves());
    });
  }
  TokenShares shares(bool keep) const {
    return {.tokens = GetParam().counts, .frames = {}, .keep_gathered = keep};
  }
};

TEST_P(TokenProducts, OfGatheredTokensAreLinearOfGatheredPieces) {
  for (const bool keep : {false, true}) {
    run([&](const Communicator& group, const Leaves& ours, const Leaves& theirs) {
      const Tensors got =
          gathered_products(ours.tokens, matrices(ours.weights), shares(keep), group);
      const at::Tensor all = gather_pieces(theirs.tokens, kTokens, GetParam().counts, group);
      Tensors want;
      for (const at::Tensor& weight : theirs.weights) want.push_back(ops::linear(all, weight));
      expect_same_bits(differentiated(got, ours), differentiated(want, theirs));
    });
  }
}

TEST_P(TokenProducts, SummedAreThePartsOfASum) {
  run([&](const Communicator& group, const Leaves& ours, const Leaves& theirs) {
    const auto whole = [&](const Leaves& leaves) {  // of as many tokens as all ranks have
      return gather_result(leaves.tokens, kTokens, GetParam().counts, group);
    };
    const at::Tensor got = summed_product(whole(ours), ours.weights[0], shares(false), group);
    const at::Tensor want = scatter_sum(ops::linear(whole(theirs), theirs.weights[0]), kTokens,
                                        GetParam().counts, group);
    EXPECT_EQ(got.size(kTokens), ours.tokens.size(kTokens));
    Leaves one = ours, other = theirs;
    one.weights.resize(1);
    other.weights.resize(1);
    expect_same_bits(differentiated({got}, one), differentiated({want}, other));
  });
}

// A frozen embedding, or frozen matrices: the other gradients are what they were.
TEST_P(TokenProducts, GradientsThatNobodyWantsAreLeftOut) {
  run([&](const Communicator& group, const Leaves& ours, const Leaves& theirs) {
    const auto products = [&](const at::Tensor& tokens, const Tensors& weights) {
      return gathered_products(tokens, matrices(weights), shares(false), group);
    };
    const Tensors both = differentiated(products(theirs.tokens, theirs.weights), theirs);
    Tensors fixed;
    for (const at::Tensor& weight : ours.weights) fixed.push_back(weight.detach());
    const size_t results = ours.weights.size();
    const Leaves of_tokens = {ours};
    differentiated(products(ours.tokens, fixed), of_tokens);
    EXPECT_TRUE(same_bits(ours.tokens.grad(), both[results]));
    differentiated(products(ours.tokens.detach(), ours.weights), ours);
    for (size_t i = 0; i < results; ++i) {
      EXPECT_TRUE(same_bits(ours.weights[i].grad(), both[results + 1 + i]));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(
    Shares, TokenProducts,
    ::testing::Values(Case{.name = "OneMatrix", .counts = {4, 4}},
                      Case{.name = "ThreeMatrices", .counts = {4, 4}, .matrices = 3},
                      Case{.name = "ARankWithoutTokens", .counts = {3, 0, 2}, .matrices = 3},
                      Case{.name = "ThreeMatricesInBfloat16",
                           .counts = {4, 4},
                           .matrices = 3,
                           .type = at::kBFloat16},
                      Case{.name = "UnevenInBfloat16", .counts = {2, 1, 1}, .type = at::kBFloat16}),
    [](const auto& about) { return std::string(about.param.name); });

/// Calls `begins` on this thread before each matrix product.
class ProductWatch {
 public:
  explicit ProductWatch(std::function<void()> begins) {
    told_ = std::move(begins);
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&tell));
  }
  ~ProductWatch() { at::removeCallback(handle_); }
  ProductWatch(const ProductWatch&) = delete;
  ProductWatch& operator=(const ProductWatch&) = delete;

 private:
  static std::unique_ptr<at::ObserverContext> tell(const at::RecordFunction& function) {
    if (std::string_view(function.name()) == "aten::mm") told_();
    return nullptr;
  }
  static inline thread_local std::function<void()> told_;
  at::CallbackHandle handle_;
};

// Rank 1 gathers only when rank 0 multiplies, and sums only when rank 0 multiplies again.
TEST(TokenProducts, TheBackwardPassMultipliesWhileItGathersAndSums) {
  std::atomic<int> products = 0;  // begun by rank 0
  std::atomic<int> missed = 0;
  const auto wait_for = [&](int count) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (products < count && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    if (products < count) ++missed;
  };
  const std::vector<int64_t> counts = {4, 4};
  run_as_threads({.tensor = 2}, [&](Mesh& mesh) {
    const Leaves leaves(counts, mesh.tensor().rank(), 1, at::kFloat);
    const TokenShares shares{.tokens = counts, .frames = {}};
    const at::Tensor loss =
        gathered_products(leaves.tokens, matrices(leaves.weights), shares, mesh.tensor())
            .front()
            .sum();
    int own = 0;
    const bool first = mesh.tensor().rank() == 0;
    const ProductWatch watch([&] {
      if (first) {
        ++products;
      } else if (++own == 1) {
        wait_for(2);
      }
    });
    if (!first) wait_for(1);
    loss.backward();
  });
  EXPECT_EQ(products, 2);
  EXPECT_EQ(missed, 0) << "a product waited for what it does not need";
}

// What is kept: bytes that a planned rank would send, on tensors without memory.
TEST(TokenProducts, AreGatheredOnceIfKeptAndElseTwice) {
  const auto mesh = Mesh::planned({.tensor = 4});
  const auto options = at::TensorOptions().dtype(at::kFloat).device(at::kMeta);
  const auto sent = [&](bool keep, bool grad) {
    const PlannedBytes before = mesh->tensor().planned_bytes();
    const at::Tensor own = at::empty({1, 1, 8, 16}, options).requires_grad_(grad);
    const Tensors weights = {at::empty({12, 16}, options).requires_grad_(grad),
                             at::empty({4, 16}, options).requires_grad_(grad)};
    const TokenShares shares{.tokens = {8, 8, 8, 8}, .frames = {}, .keep_gathered = keep};
    const Tensors y = gathered_products(own, matrices(weights), shares, mesh->tensor());
    if (grad) (y[0].sum() + y[1].sum()).backward();
    const PlannedBytes after = mesh->tensor().planned_bytes();
    return std::pair(after.moved - before.moved, after.summed - before.summed);
  };
  const double others = 4.0 * 3 * 8 * 16;  // bytes of the other ranks' tokens
  EXPECT_EQ(sent(true, true), std::pair(others, others));
  EXPECT_EQ(sent(false, true), std::pair(2 * others, others));
  EXPECT_EQ(sent(false, false), std::pair(others, 0.0));
}

TEST(TokenProducts, AloneAreLinear) {
  const at::Tensor x = normal({1, 2, 3, 8}), w = normal({5, 8}, 2);
  EXPECT_TRUE(same_bits(gathered_products(x, {w}, {}, {}).front(), ops::linear(x, w)));
  EXPECT_TRUE(same_bits(summed_product(x, w, {}, {}), ops::linear(x, w)));
}

}  // namespace
}  // namespace praxino
