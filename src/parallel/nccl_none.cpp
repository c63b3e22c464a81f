// A build without CUDA has no NCCL.
#include "parallel/nccl.h"
#include "praxino/base/error.h"

namespace praxino {

NcclWorld::NcclWorld(c10::intrusive_ptr<c10d::Store> store, int64_t, int64_t ranks,
                     const at::Device& device, std::chrono::milliseconds)
    : store_(std::move(store)), ranks_(ranks), device_(device) {
  fail_usage("several ranks on {} need NCCL, and this praxino was built without it", device.str());
}

void NcclWorld::connect(Communicator::Group&) const {}

}  // namespace praxino
