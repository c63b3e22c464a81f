#include "resumable.h"

#include "praxino/base/error.h"
#include "praxino/config/load.h"
#include "report.h"

namespace praxino {
namespace {

// What the weights and the data order depend on; the rest may change between two starts of one run.
RunConfig essential(const RunConfig& config) {
  RunConfig kept;
  kept.run.name = config.run.name;
  kept.run.seed = config.run.seed;
  kept.data = config.data;
  kept.data.path.clear();  // the content hash says which data it is, wherever it lies
  kept.data.workers = kept.data.ahead = 1;
  kept.data.max_bad = 0;
  kept.tokenizer = config.tokenizer;
  kept.model = config.model;
  kept.model.activation_checkpointing = false;
  kept.optim.kind = config.optim.kind;
  kept.optim.ema = config.optim.ema > 0 ? 0.5 : 0;  // whether there are averages at all
  kept.optim.gradient_accumulation = config.optim.gradient_accumulation;
  return kept;
}

// What actions mean may not change in the middle of a run.
std::string meaning(DatasetConfig dataset) {
  dataset.name.clear();
  dataset.actions = without_units(dataset.actions);
  return to_yaml(dataset);
}

}  // namespace

void refuse_changed_actions(const DatasetConfig& now, const TrainState& state,
                            const std::filesystem::path& directory) {
  const DatasetConfig before =
      parse_dataset(state.texts.at("dataset.yaml"), "dataset.yaml of the checkpoint");
  const std::string difference = first_difference(meaning(before), meaning(now));
  if (!difference.empty()) {
    fail(
        "{}: dataset.yaml is not the one that this run was trained with ({}); restore it, or give "
        "run.name a new name",
        directory.string(), difference);
  }
}

void refuse_changed_run(const RunConfig& now, const TrainState& state,
                        const std::filesystem::path& directory) {
  const RunConfig before =
      parse_stored_run(state.texts.at("config.yaml"), "config.yaml of the checkpoint");
  const std::string difference =
      first_difference(to_yaml(essential(before)), to_yaml(essential(now)));
  if (!difference.empty()) {
    fail(
        "{}: this run was trained with another configuration ({}); give run.name a new name, start "
        "over with --fresh, or "
        "fine-tune into a new run with --from",
        directory.string(), difference);
  }
}

}  // namespace praxino
