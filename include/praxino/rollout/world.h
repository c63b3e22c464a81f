#pragma once
// A learned world: all the parts that a run or a checkpoint is made of, put together.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "praxino/checkpoint/stored_tensors.h"
#include "praxino/config/actions.h"
#include "praxino/config/run.h"
#include "praxino/layers/ranks.h"
#include "praxino/model/world_model.h"
#include "praxino/objective/objective.h"
#include "praxino/ops/kernels.h"
#include "praxino/tokenizer/tokenizer.h"

namespace praxino {

/// Owns its parts. Thread-safe for reading once made.
struct World {
  RunConfig config;
  std::vector<ActionField> fields;
  DatasetConfig dataset;  // as trained on; dataset.actions == fields
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<WorldModel> model;
  std::unique_ptr<Objective> objective;
  at::Device device = at::Device(at::kCPU);
  int64_t step = 0;       // of the checkpoint; 0: untrained
  bool averaged = false;  // the weights are the averaged ones
};

/// "auto", "cpu", "cuda", "cuda:1" -> a device that exists; throws praxino::Error (usage) naming
/// what was found instead.
at::Device parse_device(const std::string& name);
/// Whether matrix products run in bfloat16 for run.precision on that device (auto: what this
/// processor multiplies natively).
bool use_bf16(const std::string& precision, const at::Device& device);
/// The device of one of `local_ranks` processes that share this machine: for auto and cuda the GPU
/// of its number, where there are GPUs. Throws praxino::Error where two processes would share a
/// GPU.
std::string rank_device(const std::string& name, int64_t local_rank, int64_t local_ranks);
/// Lets the model use run.threads threads of the CPU (0: LibTorch's default, but no more than the
/// usable cores, shared by `processes`). For the whole process.
void use_threads(const RunSection& run, int64_t processes = 1);

/// Whether a run of this configuration takes the kernel of that row of ops::kernel_table; those of
/// the optimizer only where it trains. True where that is not known.
bool takes_kernel(const RunConfig& config, const at::Device& device, bool trains,
                  const ops::KernelStatus& row);
/// Switches the families of kernels as config.kernels says, for the whole process, and on a GPU
/// checks those that the run takes, for two seconds at most, with a line in the log; what is left
/// is checked at its first use.
void start_kernels(const RunConfig& config, const at::Device& device, bool trains);

/// As those of WorldModelOptions.
struct BuildOptions {
  ModelRanks ranks = {};  // each builds its part
  bool drawn = true;
};
/// An untrained world on config.run.device, its kernels started. Has a GPU sum bfloat16 products in
/// float32, for the whole process.
World build_world(const RunConfig& config, std::vector<ActionField> fields,
                  const BuildOptions& options = {});
/// The same without memory, its tensors on at::kMeta: for any size of model.
World plan_world(const RunConfig& config, std::vector<ActionField> fields, bool bf16,
                 const BuildOptions& options = {});

struct LoadOptions {
  std::optional<int64_t> step = {};  // default: the newest whole checkpoint
  bool ema = true;                   // the averaged weights where there are some
  std::string device = "auto";
};
/// A checkpoint that was found and verified. Of its weights names and sizes are known.
struct StoredWorld {
  RunConfig config;
  DatasetConfig dataset;
  int64_t step = 0;
  StoredTensors weights;
};
/// From a run directory (runs/<name>), its checkpoints/, or one checkpoint directory. Reads only: a
/// run that is being trained can be loaded. A damaged checkpoint is named in a warning and the one
/// before it is taken, unless `step` asks for it. Throws praxino::Error saying what is missing or
/// damaged.
StoredWorld find_world(const std::filesystem::path& run_or_checkpoint,
                       const LoadOptions& options = {});
/// That, with its weights in a model, on options.device. Throws praxino::Error also where they do
/// not fit it.
World load_world(const std::filesystem::path& run_or_checkpoint, const LoadOptions& options = {});
/// The weights of a checkpoint directory that was verified already: averaged ones where there are
/// some and they are wanted. Throws praxino::Error where there are none.
StoredTensors stored_weights(const std::filesystem::path& checkpoint, bool averaged = true);

/// The run directory that such a path belongs to: where results are written.
std::filesystem::path run_directory(const std::filesystem::path& run_or_checkpoint);

/// Fields of two worlds whose weights fit but whose values `target` sees at another scale or with
/// another meaning: axes and deltas of the same name with another kind or reach. One phrase each:
/// "'turn' (was axis in [-1, 1], is axis in [-2, 2])".
std::vector<std::string> changed_fields(const std::vector<ActionField>& source,
                                        const std::vector<ActionField>& target);

/// Throws praxino::Error naming every difference when a data set's action fields are not those of
/// the world.
void check_fields(const World& world, const DatasetConfig& dataset);

}  // namespace praxino
