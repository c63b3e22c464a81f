#include "praxino/checkpoint/background.h"

#include <ATen/ops/empty.h>
#include <sys/mman.h>

#include <chrono>

#include "praxino/base/error.h"
#include "praxino/base/log.h"

namespace praxino {
namespace {

/// Fresh memory comes page by page: 512 times fewer where the kernel may give huge ones.
void ask_for_huge_pages(const at::Tensor& fresh) {
  constexpr uintptr_t kHugePage = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(fresh.mutable_data_ptr());
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t last = (begin + fresh.nbytes()) / kHugePage * kHugePage;
  // Advice: a kernel without huge pages refuses it, and nothing is lost.
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

// The memory of an earlier copy where it fits: fresh pages cost as much as the copy itself.
at::Tensor host_memory(const at::Tensor& like, const at::Tensor& before) {
  const bool fits = before.defined() && before.scalar_type() == like.scalar_type() &&
                    before.sizes() == like.sizes();
  if (fits) return before;
  at::Tensor fresh =
      at::empty(like.sizes(), like.options().device(at::kCPU).pinned_memory(like.is_cuda()));
  if (!like.is_cuda()) ask_for_huge_pages(fresh);
  return fresh;
}

void copy_tensors_to_host(const NamedTensors& from, NamedTensors& to) {
  to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    const auto& [name, tensor] = from[i];
    TORCH_CHECK(tensor.defined(), "BackgroundSaves: tensor ", name, " is undefined");
    const at::Tensor source = tensor.detach();
    to[i] = {name, host_memory(source, to[i].second)};
    to[i].second.copy_(source);
  }
}

}  // namespace

BackgroundSaves::~BackgroundSaves() {
  try {
    finish();
  } catch (const std::exception& error) {
    log::error("{}", error.what());
  }
}

void BackgroundSaves::prepare(TrainState like) {
  preparing_ = std::async(std::launch::async, [this, like = std::move(like)] {
    try {
      for (const auto& [file, tensors] : like.files) {
        for (const auto& [name, tensor] : tensors) {
          copy_.files[file].emplace_back(name, host_memory(tensor, {}).zero_());
        }
      }
    } catch (const std::exception&) {  // begin() meets it again where it lasts
    }
  });
}

void BackgroundSaves::begin(const TrainState& state) {
  finish();
  if (preparing_.valid()) preparing_.get();
  copy(state);
  writing_ = std::async(std::launch::async, [this] {
    try {
      store_.save(copy_);
    } catch (...) {
      failed_ = true;
      throw;
    }
  });
}

void BackgroundSaves::copy(const TrainState& state) {
  std::erase_if(copy_.files, [&](const auto& file) { return !state.files.contains(file.first); });
  for (const auto& [name, tensors] : state.files) copy_tensors_to_host(tensors, copy_.files[name]);
  copy_.step = state.step;
  copy_.state_json = state.state_json;
  copy_.texts = state.texts;
}

bool BackgroundSaves::busy() const {
  return writing_.valid() &&
         writing_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
}

void BackgroundSaves::check() {
  if (!busy()) finish();
}

void BackgroundSaves::finish() {
  if (!writing_.valid()) return;
  writing_.wait();
  failed_ = false;
  writing_.get();
  written_step_ = copy_.step;
}

}  // namespace praxino
