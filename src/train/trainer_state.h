#pragma once
// What a Trainer holds. trainer_start.cpp builds it; trainer.cpp trains with it.

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batch_feed.h"
#include "device_scalars.h"
#include "learning_step.h"
#include "praxino/base/progress.h"
#include "praxino/base/signals.h"
#include "praxino/checkpoint/background.h"
#include "praxino/checkpoint/stored_tensors.h"
#include "praxino/eval/evaluate.h"
#include "praxino/rollout/clips.h"
#include "praxino/train/trainer.h"
#include "ranks.h"
#include "report.h"
#include "run_lock.h"
#include "sharded_model.h"
#include "step_watch.h"
#include "train_state.h"

namespace praxino {

struct Trainer::State {
  State(const RunConfig& c, const TrainOptions& options);
  bool fine_tunes(const TrainOptions& options) const;
  std::optional<StoredTensors> find_source(const TrainOptions& options) const;
  void check_evaluation(bool fresh) const;
  void open_directory(bool fresh);
  void open_store();
  bool resume();
  void make_feed(const LoaderState& start);
  double progress();
  std::string time_left() const {
    return fmt::format("  {} left",
                       format_duration(std::max(0.0, 60 * config.run.max_minutes - elapsed())));
  }
  TrainParts parts() {
    return {world, sharded ? sharded->own() : world.model->parameters(), *optimizer, *ema,
            ranks.model_ranks().tensor};
  }
  double elapsed() const {
    return counters.elapsed_seconds + (started > 0 ? monotonic_seconds() - started : 0);
  }
  /// What decides about the end: the same on all ranks, then as it was when the step began.
  Moment now() {
    const Moment own{.stop = stop_requested(), .elapsed = elapsed()};
    if (!ranks.several()) return own;
    const Moment all = ranks.moment();
    return {.stop = all.stop, .elapsed = std::max(all.elapsed, counters.elapsed_seconds)};
  }
  void save();
  void save_and_wait();
  void check_saves();
  void finish_saves();
  void settle();
  void collect_arrived();
  void take(const ArrivedScalars& arrived);
  TrainingPart next_part();
  void after_step();
  void evaluate_now();
  void evaluate_held_out();
  void swap_averages();
  void repeat_evaluation();
  int finish();

  RunConfig config;
  Ranks ranks;
  std::filesystem::path directory;
  std::shared_ptr<const Dataset> dataset;
  Split split;
  World world;
  std::unique_ptr<ShardedModel> sharded;  // nothing where one process keeps all parameters
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Ema> ema;
  std::unique_ptr<StepWatch> watch;  // of several ranks
  std::unique_ptr<LearningStep> learning;
  std::unique_ptr<BatchFeed> feed;
  std::optional<RunLock> lock;
  std::unique_ptr<CheckpointStore> store;
  std::unique_ptr<BackgroundSaves> saves;
  std::unique_ptr<Report> report;       // of the first rank
  std::optional<EvalClips> eval_clips;  // decoded once, by those who evaluate
  DeviceScalars scalars;
  RunCounters counters;
  std::map<int64_t, std::vector<int64_t>> samples_of_step;  // until the step's outcome is known
  double started = 0;                                       // of this start; 0 before run()
  StartClock start_clock;
  bool stepped = false;          // in this start
  double wait_seconds = 0;       // for the loader, this step
  int64_t saved_step = -1;       // of the newest checkpoint, which may still be under way
  bool saved_evaluation = true;  // whether that checkpoint knows of the newest evaluation
};

}  // namespace praxino
