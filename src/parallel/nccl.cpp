#include "parallel/nccl.h"

#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

namespace praxino {

NcclWorld::NcclWorld(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t ranks,
                     const at::Device& device, std::chrono::milliseconds silence)
    : store_(std::move(store)), ranks_(ranks), device_(device) {
  const auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
  options->timeout = silence;
  const auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(
      c10::make_intrusive<c10d::PrefixStore>("nccl", store_), static_cast<int>(rank),
      static_cast<int>(ranks), options);
  // Connected now, since only a connected communicator can be split.
  nccl->setBoundDeviceId(device);
  nccl->eagerConnectSingleDevice(device);
  world_ = nccl;
}

void NcclWorld::connect(Communicator::Group& group) const {
  if (group.size() == ranks_) {
    group.backend = world_;
    return;
  }
  const std::vector<int> ranks(group.members.begin(), group.members.end());
  const auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
  options->group_name = key_prefix(group);
  options->timeout = world_->getBackendOptions()->timeout;
  group.backend = world_->split(c10::make_intrusive<c10d::PrefixStore>(key_prefix(group), store_),
                                ranks, options);
  group.backend->setBoundDeviceId(device_);
}

}  // namespace praxino
