#include "praxino/parallel/gather_tensors.h"

#include <ATen/ops/empty.h>

#include <map>
#include <sstream>

namespace praxino {
namespace {

using NamedTensor = std::pair<std::string, at::Tensor>;

/// One line a tensor: name, type, shape. Names of parameters hold no blanks.
std::string describe(const std::vector<NamedTensor>& tensors) {
  std::ostringstream text;
  for (const auto& [name, tensor] : tensors) {
    TORCH_CHECK(name.find_first_of(" \n") == std::string::npos, "gather_tensors: the name '", name,
                "' holds a blank");
    text << name << ' ' << static_cast<int>(tensor.scalar_type()) << ' ' << tensor.dim();
    for (const int64_t length : tensor.sizes()) text << ' ' << length;
    text << '\n';
  }
  return text.str();
}

/// Empty tensors for what describe() wrote.
std::vector<NamedTensor> make_room(const std::string& description) {
  std::vector<NamedTensor> tensors;
  std::istringstream text(description);
  std::string name;
  int type = 0;
  size_t dims = 0;
  while (text >> name >> type >> dims) {
    std::vector<int64_t> shape(dims);
    for (int64_t& length : shape) text >> length;
    tensors.emplace_back(name, at::empty(shape, static_cast<at::ScalarType>(type)));
  }
  return tensors;
}

}  // namespace

std::vector<NamedTensor> gather_tensors(const std::vector<NamedTensor>& own,
                                        const Communicator& world) {
  const std::vector<std::string> all = world.all_gather_text(describe(own));
  if (world.rank() != 0) {
    for (const auto& [name, tensor] : own) {
      if (tensor.numel() > 0) world.send(tensor.detach().to(at::kCPU).contiguous(), 0).wait();
    }
    return {};
  }
  std::map<std::string, at::Tensor> gathered(own.begin(), own.end());
  for (int64_t rank = 1; rank < world.size(); ++rank) {
    for (auto& [name, tensor] : make_room(all[static_cast<size_t>(rank)])) {
      if (tensor.numel() > 0) world.receive(tensor, rank).wait();
      gathered.emplace(name, tensor);
    }
  }
  std::vector<NamedTensor> sorted;
  for (const auto& [name, tensor] : gathered) {
    sorted.emplace_back(name, tensor.detach().to(at::kCPU));
  }
  return sorted;
}

}  // namespace praxino
