#pragma once
// NCCL behind the axes of a mesh of GPUs.

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>
#include <vector>

#include "parallel/group.h"

namespace praxino {

/// The communicator of all ranks, from which those of the axes are split.
class NcclWorld {
 public:
  /// Connects. Throws praxino::Error in a build without CUDA.
  NcclWorld(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t ranks,
            const at::Device& device, std::chrono::milliseconds silence);
  /// Every rank calls it for the same axes in the same order, each with its own group of several.
  void connect(Communicator::Group& group) const;

 private:
  c10::intrusive_ptr<c10d::Store> store_;
  int64_t ranks_;
  at::Device device_;
  c10::intrusive_ptr<c10d::Backend> world_;
};

}  // namespace praxino
