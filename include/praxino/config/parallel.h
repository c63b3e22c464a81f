#pragma once
// The section `parallel` of a run: how its ranks share the work. What is learned does not depend on
// it, so that it may change between two starts of one run.

#include <cstdint>
#include <string>

#include "praxino/config/fields.h"

namespace praxino {

struct ParallelConfig {
  int64_t data = 0;
  int64_t tensor = 1;
  int64_t context = 1;
  std::string gradients = "fp32";
  int64_t bucket_mib = 32;
  int64_t first_timeout = 1800;
  int64_t timeout = 600;
  int64_t check_weights_every = 100;
  double slow_factor = 1.5;
  int64_t slow_steps = 20;
  bool shard_weights = false;
};

template <class Visitor>
void visit_fields(Visitor& v, ParallelConfig& c) {
  v(Field{.key = "data",
          .about = "ranks that share each batch, with the optimizer's state sharded over them; 0: "
                   "all ranks that were started, over tensor and context",
          .low = 0,
          .high = 65536},
    c.data);
  v(Field{.key = "tensor",
          .about = "ranks that share the matrices of each block, its heads and the tokens between",
          .when = "when a layer does not fit",
          .low = 1,
          .high = 64},
    c.tensor);
  v(Field{.key = "context",
          .about = "ranks that share the frames of each clip (heads, where all frames are seen)",
          .when = "when the activations of one clip do not fit",
          .low = 1,
          .high = 1024},
    c.context);
  v(Field{.key = "gradients",
          .about = "in which gradients are summed over ranks",
          .when = "bf16 halves what travels, and rounds every sum to 8 bits",
          .choices = {"fp32", "bf16"}},
    c.gradients);
  v(Field{.key = "bucket_mib",
          .about =
              "MiB of gradients that travel together; a bucket leaves when backward has filled "
              "it",
          .when = "smaller for small models, so that the first leaves earlier",
          .low = 1,
          .high = 4096},
    c.bucket_mib);
  v(Field{.key = "first_timeout",
          .about = "as timeout, until the first step of a start is done: reading the data, warming "
                   "up and choosing kernels take longer than a step; at least timeout",
          .low = 1,
          .high = 86400},
    c.first_timeout);
  v(Field{.key = "timeout",
          .about = "seconds that a collective of a step may last before it fails, and a step may "
                   "stand still",
          .when = "longer where a step, or a loader's stall, lasts longer",
          .low = 1,
          .high = 86400},
    c.timeout);
  v(Field{.key = "check_weights_every",
          .about = "steps between two comparisons of the ranks' copies of the weights; copies that "
                   "differ end the run before the step changes anything; 0: never",
          .when = "1 to find out which rank's memory fails",
          .low = 0},
    c.check_weights_every);
  v(Field{.key = "slow_factor",
          .about = "a rank that takes this many times the median of all ranks from the begin of a "
                   "step to the end of backward, without waiting for others, is named; 0: none",
          .low = 0,
          .high = 1000},
    c.slow_factor);
  v(Field{.key = "slow_steps",
          .about = "for so many steps in a row, before it is named",
          .low = 1,
          .high = 100'000},
    c.slow_steps);
  v(Field{.key = "shard_weights",
          .about = "shard weights and gradients over data, too, and gather them block by block "
                   "(ZeRO-3); needs model.activation_checkpointing",
          .when = "when the weights and gradients of a rank do not fit"},
    c.shard_weights);
}

}  // namespace praxino
