#pragma once
// What a run tells: log.jsonl and TensorBoard events for machines, lines for people, pictures of
// held-out rollouts.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "device_scalars.h"
#include "praxino/config/run.h"
#include "praxino/data/dataset.h"
#include "praxino/eval/evaluate.h"
#include "praxino/rollout/world.h"

namespace praxino {

/// Not thread-safe. Owns the files of one run directory except the checkpoints.
class Report {
 public:
  /// Opens the logs at `step` (0: a new run), writes config.yaml.
  Report(const std::filesystem::path& directory, const RunConfig& config, int64_t step);
  ~Report();

  /// One paragraph at the start: model size, data, device, where it resumes (-1: a new run).
  void describe(const World& world, const Dataset& dataset, const Split& split, int64_t resumed_at);

  /// Host-side facts of a step, known at once.
  struct HostFacts {
    double learning_rate = 0;
    double wait_seconds = 0;  // for the loader
    double seconds = 0;       // filled in here
  };
  void stepped(int64_t step, HostFacts facts);
  /// The device's scalars of a step, later: completes its line. skipped_steps: so far, this one
  /// included.
  void record(const ArrivedScalars& arrived, int64_t skipped_steps);

  /// What a held-out evaluation of the world on `clips` has found: metrics, eval.json,
  /// samples/step-*.png.
  void evaluated(const World& world, const EvalClips& clips, const EvalReport& report);

  /// Whether the log holds the evaluation of a step: of the one that the run resumed at.
  bool has_evaluation(int64_t step) const;

  /// Before a checkpoint: a log that survives a power cut reaches as far as the checkpoint.
  void sync();
  std::string progress_text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether a run directory holds more than the lock of the run that is about to start.
bool has_content(const std::filesystem::path& directory);

/// The first line in which two YAML texts differ: "model.width: 192 -> 256"; empty when they are
/// equal.
std::string first_difference(const std::string& before, const std::string& now);
/// Renames a run directory to <name>.old-1, -2, ...; returns the new path.
std::filesystem::path set_aside(const std::filesystem::path& directory);
/// "128, 129, ... (16 samples)".
std::string format_samples(const std::vector<int64_t>& samples);

}  // namespace praxino
