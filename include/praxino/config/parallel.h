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
  int64_t timeout = 600;
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
          .about = "ranks that share every matrix; planned for, training accepts 1",
          .when = "when a layer does not fit",
          .low = 1,
          .high = 64},
    c.tensor);
  v(Field{.key = "context",
          .about = "ranks that share the tokens of each clip; planned for, training accepts 1",
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
  v(Field{.key = "timeout",
          .about = "seconds that a collective of a step may last before it fails",
          .when = "longer where a step, or a loader's stall, lasts longer",
          .low = 1,
          .high = 86400},
    c.timeout);
  v(Field{.key = "shard_weights",
          .about = "shard weights and gradients over data, too, and gather them block by block "
                   "(ZeRO-3); planned for, training accepts false",
          .when = "when the weights of a rank do not fit"},
    c.shard_weights);
}

}  // namespace praxino
