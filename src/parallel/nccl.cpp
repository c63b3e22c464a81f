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

GroupPtr NcclWorld::split(const char* name, int64_t rank, std::vector<int64_t> members) const {
  auto group = std::make_shared<Communicator::Group>();
  group->name = name;
  group->rank = rank;
  group->members = std::move(members);
  if (group->size() == 1) return group;
  group->store = c10::make_intrusive<c10d::PrefixStore>(
      fmt::format("{}/{}", name, group->members.front()), store_);
  if (group->size() == ranks_) {
    group->backend = world_;
    return group;
  }
  const std::vector<int> ranks(group->members.begin(), group->members.end());
  const auto options = c10d::ProcessGroupNCCL::Options::create(/*is_high_priority_stream=*/true);
  options->group_name = fmt::format("{}/{}", name, group->members.front());
  options->timeout = world_->getBackendOptions()->timeout;
  group->backend = world_->split(group->store, ranks, options);
  group->backend->setBoundDeviceId(device_);
  return group;
}

}  // namespace praxino
