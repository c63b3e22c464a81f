#include "praxino/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <thread>
#include <utility>

#include "batch_feed.h"
#include "device_scalars.h"
#include "learning_step.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/base/signals.h"
#include "praxino/checkpoint/background.h"
#include "praxino/config/load.h"
#include "praxino/eval/evaluate.h"
#include "praxino/rollout/clips.h"
#include "praxino/train/expect.h"
#include "ranks.h"
#include "report.h"
#include "resumable.h"
#include "run_lock.h"
#include "sharded_model.h"
#include "step_watch.h"
#include "train_state.h"

namespace praxino {
namespace {

std::shared_ptr<const Dataset> open_dataset(const DataConfig& data) {
  return std::make_shared<const Dataset>(Dataset::open(data.path));
}

}  // namespace

struct Trainer::State {
  State(const RunConfig& c, const TrainOptions& options);
  bool adopt(const TrainOptions& options);
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

Trainer::State::State(const RunConfig& c, const TrainOptions& options)
    : config(c),
      ranks(options.mesh),
      directory(std::filesystem::path(c.run.output) / c.run.name),
      start_clock(options.start) {
  check_sharding(config);
  use_threads(config.run, options.local_ranks);
  if (options.mesh) {
    ranks.require_equal("start", agreement(config, options.mesh->shape()));
    if (!ranks.first()) log::set_level(std::max(log::level(), log::Level::kWarning));
  }
  start_clock.mark("agreed");
  ranks.on_first([&] { dataset = open_dataset(config.data); });  // it may have to be indexed, once
  if (!dataset) dataset = open_dataset(config.data);
  split = split_dataset(*dataset, config.data.split);
  RunConfig placed = config;
  if (!options.device.empty()) placed.run.device = options.device;
  start_clock.mark("data");
  world = build_world(placed, dataset->config().actions, ranks.model_ranks());
  world.config = config;
  world.dataset = dataset->config();
  start_clock.mark("model");
  bool adopted = false;
  ranks.on_first([&] {
    check_evaluation(options.fresh);
    if (!options.from.empty()) adopted = adopt(options);
    open_directory(options.fresh);
  });
  if (!store) open_store();
  // Weights that all ranks hold come from rank 0; parts of split matrices each rank takes itself.
  if (ranks.agree(adopted ? 1 : 0) != 0 && ranks.model_ranks().tensor.rank() > 0)
    adopt_weights(options.from, world);
  start_clock.mark("folder");
  start_kernels(config, world.device, true);  // the optimizer's, too
  start_clock.mark("kernels");
  if (ranks.several()) {
    sharded = std::make_unique<ShardedModel>(*world.model, config.parallel, ranks);
  }
  const Parameters& own = sharded ? sharded->own() : world.model->parameters();
  ema = std::make_unique<Ema>(config.optim.ema, own);
  optimizer = make_optimizer(config.optim, own,
                             sharded ? sharded->optimizer_ranks() : OptimizerRanks(), ema.get());
  if (sharded) watch = std::make_unique<StepWatch>(config, ranks, world.model->parameters(), own);
  learning = std::make_unique<LearningStep>(config, world, *optimizer, sharded.get(), watch.get());
  counters.content_hash = dataset->content_hash();
  const bool resumed = resume();
  make_feed(counters.loader);
  if (config.checkpoint.background && !ranks.model_ranks().several())  // those exchange for it
    saves->prepare(capture_state(parts(), counters, ranks.first()));
  ranks.on_first([&] {
    report = std::make_unique<Report>(directory, config, counters.step);
    report->describe(world, *dataset, split, resumed ? counters.step : -1);
  });
  start_clock.mark("weights");
}

// Better now than after hours of training.
void Trainer::State::check_evaluation(bool fresh) const {
  std::vector<ClipPlan> plans;
  if (!split.val.empty()) {
    plans = spread_clips(config, *dataset, split.val, config.eval.context + config.eval.horizon,
                         config.eval.clips);
  }
  const auto labelled = std::ranges::count_if(plans, [&](const ClipPlan& plan) {
    return std::all_of(plan.known.begin() + config.eval.context, plan.known.end(),
                       [](uint8_t known) { return known != 0; });
  });
  if (fresh || checkpoint_steps(directory / "checkpoints").empty())
    check_expectations(config, !plans.empty(), !world.fields.empty() && labelled >= 2);
}

// Before the run directory is touched, so that a wrong --from changes nothing.
bool Trainer::State::adopt(const TrainOptions& options) {
  std::error_code failed;  // a path that is missing is equivalent to none
  if (std::filesystem::equivalent(directory, run_directory(options.from), failed)) {
    fail_usage("--from names the run directory itself, {}; give run.name a new name",
               directory.string());
  }
  if (!options.fresh && !checkpoint_steps(directory / "checkpoints").empty()) {
    log::warning("--from is not used again: {} has checkpoints and goes on from its newest one",
                 directory.string());
    return false;
  }
  adopt_weights(options.from, world);
  return true;
}

void Trainer::State::open_directory(bool fresh) {
  lock.emplace(directory);
  if (fresh && has_content(directory)) {
    log::info("set aside: {}", set_aside(directory).string());
    lock.emplace(directory);
  }
  open_store();
}

void Trainer::State::open_store() {
  store = std::make_unique<CheckpointStore>(directory / "checkpoints", config.checkpoint.keep,
                                            ranks.save_group());
  saves = std::make_unique<BackgroundSaves>(*store);
}

bool Trainer::State::resume() {
  const std::optional<TrainState> state = store->load_newest(wanted_by(parts()));
  if (!state) return false;
  refuse_changed_run(config, *state, directory);
  refuse_changed_actions(dataset->config(), *state, directory);
  counters = restore_state(*state, parts());
  if (sharded) sharded->start_sharing_weights();
  settle();
  if (counters.content_hash != dataset->content_hash()) {
    fail(
        "{}: the data set {} is not the one that this run was trained on; give run.name a new "
        "name, or restore the files",
        directory.string(), config.data.path);
  }
  saved_step = counters.step;
  return true;
}

void Trainer::State::make_feed(const LoaderState& start) {
  ClipSpace clips(*dataset, split.train, config.data.clip_frames, dataset->fps(config.data));
  const LoaderOptions options{.data = config.data,
                              .seed = static_cast<uint64_t>(config.run.seed),
                              .pin = world.device.is_cuda(),
                              .share = {ranks.data_rank(), ranks.data_ranks()}};
  LoaderState own = start;
  if (!ranks.first()) own.failed_clips = 0;  // those of all clips are added up again
  feed = std::make_unique<BatchFeed>(dataset, std::move(clips), options, own, ranks.model_ranks(),
                                     world.device);
}

double Trainer::State::progress() {
  const double by_steps =
      static_cast<double>(counters.step) / static_cast<double>(config.run.steps);
  const double by_clock =
      config.run.max_minutes > 0 ? now().elapsed / (60 * config.run.max_minutes) : 0;
  return std::min(1.0, std::max(by_steps, by_clock));
}

void Trainer::State::save() {
  settle();
  if (saved_step == counters.step && saved_evaluation) return;
  RunCounters now = counters;
  now.elapsed_seconds = elapsed();
  now.loader.failed_clips = ranks.sum_in_training(now.loader.failed_clips);
  if (report) report->sync();
  finish_saves();
  saves->begin(capture_state(parts(), now, ranks.first()));
  if (!config.checkpoint.background) finish_saves();
  saved_step = counters.step;
  saved_evaluation = true;
}

// A failed save ends the run, on several ranks at the same step with the same words.
void Trainer::State::check_saves() {
  if (!ranks.several()) {
    saves->check();
  } else if (ranks.moment().save_failed) {
    finish_saves();
  }
}

// All ranks wait together: one whose disk is slow still answers, and one that hangs is found.
void Trainer::State::finish_saves() {
  constexpr std::chrono::milliseconds kPause{5};
  while (ranks.several() && ranks.sum_in_training(saves->busy() ? 1 : 0) > 0) {
    std::this_thread::sleep_for(kPause);
  }
  saves->finish();
}

void Trainer::State::save_and_wait() {
  save();
  finish_saves();
}

// Between two steps: every weight is there, and every step's outcome known.
void Trainer::State::settle() {
  if (sharded) sharded->settle();
  while (const std::optional<ArrivedScalars> arrived = scalars.pop(/*wait=*/true)) take(*arrived);
}

// Takes the scalars that have arrived; the newest ones wait for nobody. Several ranks take those of
// every step but the newest, so that what follows from them happens on all ranks in one step.
void Trainer::State::collect_arrived() {
  while (ranks.several() && scalars.pending() > 1) take(*scalars.pop(/*wait=*/true));
  if (ranks.several()) return;
  while (const std::optional<ArrivedScalars> arrived = scalars.pop(/*wait=*/false)) take(*arrived);
}

void Trainer::State::take(const ArrivedScalars& arrived) {
  const auto samples = samples_of_step.extract(arrived.step);
  const bool skipped = arrived.value("skipped") != 0;
  counters.skipped_steps += skipped ? 1 : 0;
  counters.skipped_in_a_row = skipped ? counters.skipped_in_a_row + 1 : 0;
  if (report) report->record(arrived, counters.skipped_steps);
  if (!skipped) return;
  if (watch && samples) watch->tell_own_part(arrived, samples.mapped());
  if (ranks.first()) {
    log::warning("step {} skipped: its loss or gradients are not finite; samples {}", arrived.step,
                 samples ? format_samples(samples.mapped()) : "unknown");
  }
  if (counters.skipped_in_a_row >= config.optim.max_skipped) {
    fail(
        "stopped at step {}: {} steps in a row had a loss or gradients that are not finite; lower "
        "optim.lr, or look at "
        "the samples named above. The newest checkpoint is that of step {}",
        arrived.step, counters.skipped_in_a_row, saved_step);
  }
}

// The next batch, as the model is to learn from it.
TrainingPart Trainer::State::next_part() {
  const Batch batch = feed->next();
  wait_seconds += batch.wait_seconds;
  return prepare_micro_batch(world, batch);
}

void Trainer::State::after_step() {
  check_saves();
  // First the checkpoint: whatever an evaluation meets, the training up to here is kept.
  if (counters.step % config.checkpoint.every == 0) save();
  if (config.eval.every > 0 && counters.step % config.eval.every == 0) evaluate_now();
}

void Trainer::State::evaluate_now() {
  if (split.val.empty()) return;
  settle();
  world.step = counters.step;
  world.averaged = ema->enabled();
  swap_averages();
  if (sharded) sharded->bring_all_weights();
  std::exception_ptr failed;
  try {
    evaluate_held_out();
  } catch (...) {  // the live weights come back whatever happened
    failed = std::current_exception();
  }
  if (sharded) sharded->drop_all_weights();
  swap_averages();
  if (failed) std::rethrow_exception(failed);
  counters.evaluated_step = counters.step;
  saved_evaluation = false;
}

// By the first rank alone, or, where several share its model, by all of those in step: each
// computes the same, the first one writes it down.
void Trainer::State::evaluate_held_out() {
  const auto measure = [&] {
    if (!eval_clips) eval_clips = load_eval_clips(config, dataset, split.val);
    return evaluate(world, *eval_clips);
  };
  std::optional<EvalReport> found;
  if (ranks.model_ranks().several() && ranks.data_rank() == 0) {
    const Uninterrupted together;
    found = measure();
  }
  ranks.on_first([&] {
    if (!found) found = measure();
    report->evaluated(world, *eval_clips, *found);
  });
}

// Exchanges the averaged weights with the live ones, on every rank.
void Trainer::State::swap_averages() {
  if (!ema->enabled()) return;
  ema->swap();
  if (!sharded) return;
  sharded->start_sharing_weights();
  sharded->settle();
}

// The evaluation that a stop signal or a crash ended, after its step's checkpoint was written.
void Trainer::State::repeat_evaluation() {
  const bool due = counters.step > 0 && config.eval.every > 0 &&
                   counters.step % config.eval.every == 0 &&
                   counters.evaluated_step != counters.step;
  if (!due) return;
  if (ranks.agree(report && report->has_evaluation(counters.step) ? 1 : 0) != 0) {
    counters.evaluated_step = counters.step;
  } else {
    evaluate_now();
  }
}

int Trainer::State::finish() {
  save();
  if (counters.evaluated_step != counters.step) evaluate_now();
  save_and_wait();  // once more where the evaluation is new, so that a repeated start knows of it
  int64_t missed = 0;
  ranks.on_first([&] {
    for (const std::string& line : missed_expectations(config.expect, directory / "log.jsonl")) {
      log::error("missed: {}", line);
      ++missed;
    }
  });
  return ranks.agree(missed) == 0 ? 0 : 3;
}

Trainer::Trainer(const RunConfig& config, const TrainOptions& options)
    : state_(std::make_unique<State>(config, options)) {}

Trainer::~Trainer() = default;

double Trainer::loader_wait_seconds() const { return state_->wait_seconds; }
const StartClock& Trainer::start() const { return state_->start_clock; }
const World& Trainer::world() const { return state_->world; }
void Trainer::save() { state_->save_and_wait(); }

int64_t Trainer::steps_done() const { return state_->counters.step; }
const std::filesystem::path& Trainer::directory() const { return state_->directory; }

StepStats Trainer::step() {
  State& s = *state_;
  const int64_t first_sample = s.feed->state().next_sample;
  const double loader_wait = std::exchange(s.wait_seconds, 0);  // of the step before
  s.ranks.step_begins(s.counters.step + 1);
  if (s.ranks.several()) {
    s.ranks.exchange({.stop = stop_requested(),
                      .elapsed = s.elapsed(),
                      .save_failed = s.saves->failed(),
                      .paces = {{.compute = s.watch->compute_seconds(), .loader = loader_wait}}});
    s.watch->begins(s.counters.step + 1);
  }
  LearningStep::Result result = s.learning->run(
      [&] { return s.next_part(); },
      [&] { return schedule_factor(s.config.optim, s.counters.step, s.progress()); });
  ++s.counters.step;
  s.counters.loader = s.feed->state();
  std::vector<int64_t>& samples = s.samples_of_step[s.counters.step];
  samples.resize(static_cast<size_t>(s.counters.loader.next_sample - first_sample));
  std::iota(samples.begin(), samples.end(), first_sample);
  s.scalars.push(s.counters.step, std::move(result.scalars));
  if (s.report) s.report->stepped(s.counters.step, {result.stats.learning_rate, s.wait_seconds});
  s.collect_arrived();
  if (!std::exchange(s.stepped, true)) {
    result.stats.skipped.item();  // until the device has done the step
    s.start_clock.mark("first step");
    if (s.ranks.first()) log::info("started in {}", s.start_clock.text());
  }
  if (s.watch) s.watch->compare(s.ranks.moment().paces);
  s.ranks.step_ends();
  return result.stats;
}

// What ends a run, a data set that breaks away for one, must not cost the steps since the last
// checkpoint. One rank of several cannot save alone.
void Trainer::step_or_save() {
  try {
    step();
  } catch (const Error&) {
    if (!state_->ranks.several()) state_->save_and_wait();
    throw;
  }
}

int Trainer::run() {
  const StopSignal stop;
  state_->started = monotonic_seconds();
  try {
    return train_to_end();
  } catch (const Stopped& stopped) {  // between two steps, or in an evaluation, which is given up
    state_->save_and_wait();
    log::info("{} at step {}; the same command goes on from here", stopped.what(), steps_done());
    return stopped.exit_code();
  }
}

int Trainer::train_to_end() {
  State& s = *state_;
  s.repeat_evaluation();
  {
    const bool by_clock = s.config.run.max_minutes > 0;  // then the number of steps is not known
    std::optional<Progress> line;
    if (s.report) line.emplace("training", by_clock ? 0 : s.config.run.steps, s.counters.step);
    while (s.counters.step < s.config.run.steps && s.progress() < 1.0) {
      step_or_save();
      s.after_step();
      if (line)
        line->update(s.counters.step, s.report->progress_text() + (by_clock ? s.time_left() : ""));
      if (const int code = s.now().stop) throw Stopped(code);
    }
  }
  const int code = s.finish();
  log::info("run directory: {}", s.directory.string());
  return code;
}

}  // namespace praxino
