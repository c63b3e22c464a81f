#pragma once
// How the CUDA side of step_graph.h, which not every program is linked with, makes itself known.

#include "praxino/ops/step_graph.h"

namespace praxino::ops {

using RecorderMaker = std::unique_ptr<StepRecorder> (*)(const at::Device& device);
void use_recorder_maker(RecorderMaker make);

}  // namespace praxino::ops
