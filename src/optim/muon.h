#pragma once
// Muon (Jordan et al., 2024): momentum whose matrices are orthogonalised before they are applied.

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "optim/gradients.h"
#include "praxino/layers/parameters.h"
#include "praxino/ops/parameter_update.h"
#include "praxino/parallel/communicator.h"

namespace praxino {

/// Pushes the singular values of every matrix of a batch [G, rows, cols] towards 1 (they land
/// between about 0.7 and 1.2): five quintic Newton-Schulz iterations. The products run in bfloat16
/// where the device multiplies it natively, else in float32; the result is float32. Zeros stay
/// zeros.
at::Tensor orthogonalize(const at::Tensor& batch);
/// The same in the type of the products, without the last copy: any strides.
at::Tensor orthogonal_product(const at::Tensor& batch);

/// m <- momentum m + (1 - momentum) g;  u = (1 - momentum) g + momentum m;
/// w <- (1 - lr decay) w - lr sqrt(max(1, rows/cols)) orthogonalize(u).
class Muon {
 public:
  struct Options {
    double peak_rate = 0.01;
    double momentum = 0.95;
    double weight_decay = 0;
  };
  /// REQUIRES: every parameter has two dimensions (c10::Error).
  /// Where matrices are sliced, `tensor` are the ranks that share them.
  Muon(Options options, const std::vector<Parameter>& parameters, const Communicator& tensor = {});
  const std::vector<at::Tensor>& parameters() const { return parameters_; }
  /// `gradients` as parameters().
  void step(const std::vector<at::Tensor>& gradients, const GradientCheck& check,
            double rate) const;
  void append_state(std::vector<std::pair<std::string, at::Tensor>>& state) const;

  /// Parameters of one shape, whose products are batched.
  struct Group {
    std::vector<size_t> members;  // positions in parameters()
    at::Tensor momentum;          // [members, rows, cols]
    std::optional<Slice> slice;   // of every member
    /// sqrt(max(1, rows/cols)) of the whole matrices.
    double scale() const;
  };
  /// orthogonal_product() of a group's batch. Sliced matrices are put together for it, each on one
  /// of the ranks that share them, and the result has this rank's parts.
  at::Tensor orthogonal(const at::Tensor& batch, const Group& group) const;
  const std::vector<Group>& groups() const { return groups_; }
  /// A group as the kernels take it: weights, momentum, copies, rate and decay.
  std::vector<ops::UpdatedParameter> updated(const Group& group) const;

 private:
  /// What is subtracted from the weights of a group: minus the scaled direction; -0 where skipped.
  at::Tensor advance(const Group& group, const std::vector<at::Tensor>& gradients,
                     const GradientCheck& check, double rate) const;

  Options options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_;
  std::vector<std::shared_ptr<WeightCopy>> copies_;
  std::vector<Group> groups_;
  Communicator tensor_;
};

}  // namespace praxino
