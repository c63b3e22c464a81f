#include "praxino/ops/planned_device.h"

#include <ATen/ExpandUtils.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

namespace praxino::ops {
namespace {

using at::Tensor;

thread_local at::DeviceType planned = at::kCPU;

Tensor& shaped_as(const Tensor& x, Tensor& out) {
  out.resize_(x.sizes());
  return out;
}

Tensor& shaped_as_both(const Tensor& x, const Tensor& y, Tensor& out) {
  out.resize_(at::infer_size(x.sizes(), y.sizes()));
  return out;
}

at::DimVector shape_of_choice(const Tensor& condition, const Tensor& x, const Tensor& y) {
  return at::infer_size_dimvector(at::infer_size_dimvector(condition.sizes(), x.sizes()),
                                  y.sizes());
}

// What the model uses and LibTorch knows for tensors without memory from Python only.
void add_shapes() {
  static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__,
                                __LINE__);
  static const bool added = [] {
    library.impl("abs.out", shaped_as);
    library.impl("logical_not.out", shaped_as);
    library.impl("logical_and.out", shaped_as_both);
    library.impl("logical_or.out", shaped_as_both);
    library.impl("where.self", [](const Tensor& condition, const Tensor& x, const Tensor& y) {
      return at::empty(shape_of_choice(condition, x, y),
                       condition.options().dtype(at::result_type(x, y)));
    });
    library.impl(
        "where.self_out",
        [](const Tensor& condition, const Tensor& x, const Tensor& y, Tensor& out) -> Tensor& {
          out.resize_(shape_of_choice(condition, x, y));
          return out;
        });
    return true;
  }();
  static_cast<void>(added);
}

}  // namespace

PlannedDevice::PlannedDevice(at::DeviceType device) : before_(planned) {
  add_shapes();
  planned = device;
}

PlannedDevice::~PlannedDevice() { planned = before_; }

at::DeviceType computing_device(const Tensor& x) {
  return x.is_meta() ? planned : x.device().type();
}

}  // namespace praxino::ops
