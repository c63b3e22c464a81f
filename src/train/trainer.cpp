#include "praxino/train/trainer.h"

#include <ATen/ops/zeros.h>

#include <fmt/format.h>

#include <algorithm>

#include "device_scalars.h"
#include "micro_batch.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/base/signals.h"
#include "praxino/checkpoint/background.h"
#include "praxino/config/load.h"
#include "praxino/rollout/clips.h"
#include "praxino/train/expect.h"
#include "report.h"
#include "run_lock.h"
#include "train_state.h"

namespace praxino {
namespace {

std::shared_ptr<const Dataset> open_dataset(const DataConfig& data) {
  return std::make_shared<const Dataset>(Dataset::open(data.path));
}

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

void refuse_unbuilt(const ParallelConfig& parallel) {
  if (parallel.tensor > 1 || parallel.context > 1 || parallel.shard_weights) {
    fail_usage(
        "parallel: tensor and context above 1 and shard_weights can be planned for (praxino plan), "
        "but not trained yet; leave them out");
  }
}

/// More than the lock of the run that is about to start.
bool has_content(const std::filesystem::path& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().filename() != "lock") return true;
  }
  return false;
}

/// The averaged weights are the live ones while one lives.
class AveragedWeights {
 public:
  explicit AveragedWeights(Ema& ema) : ema_(ema) { swap(); }
  ~AveragedWeights() { swap(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  void swap() {
    if (ema_.enabled()) ema_.swap();
  }
  Ema& ema_;
};

}  // namespace

struct Trainer::State {
  State(const RunConfig& c, const TrainOptions& options);
  void adopt(const TrainOptions& options);
  void check_evaluation(bool fresh) const;
  void open_directory(bool fresh);
  bool resume();
  void make_loader(const LoaderState& start);
  double progress() const;
  std::string time_left() const {
    return fmt::format("  {} left",
                       format_duration(std::max(0.0, 60 * config.run.max_minutes - elapsed())));
  }
  double elapsed() const {
    return counters.elapsed_seconds + (started > 0 ? monotonic_seconds() - started : 0);
  }
  void save();
  void save_and_wait();
  void collect(bool wait);
  void take(const ArrivedScalars& arrived);
  void after_step();
  void evaluate_now();
  void repeat_evaluation();
  int finish();

  RunConfig config;
  std::filesystem::path directory;
  std::shared_ptr<const Dataset> dataset;
  Split split;
  World world;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Ema> ema;
  std::unique_ptr<Loader> loader;
  std::optional<RunLock> lock;
  std::unique_ptr<CheckpointStore> store;
  std::unique_ptr<BackgroundSaves> saves;
  std::unique_ptr<Report> report;
  DeviceScalars scalars;
  RunCounters counters;
  std::map<int64_t, std::vector<int64_t>> samples_of_step;  // until the step's outcome is known
  double started = 0;                                       // of this start; 0 before run()
  double wait_seconds = 0;                                  // for the loader, this step
  int64_t saved_step = -1;       // of the newest checkpoint, which may still be under way
  bool saved_evaluation = true;  // whether that checkpoint knows of the newest evaluation
};

Trainer::State::State(const RunConfig& c, const TrainOptions& options)
    : config(c), directory(std::filesystem::path(c.run.output) / c.run.name) {
  refuse_unbuilt(config.parallel);
  use_threads(config.run);
  dataset = open_dataset(config.data);
  split = split_dataset(*dataset, config.data.split);
  world = build_world(config, dataset->config().actions);
  world.dataset = dataset->config();
  check_evaluation(options.fresh);
  if (!options.from.empty()) adopt(options);
  open_directory(options.fresh);
  start_kernels(config, world.device, true);  // the optimizer's, too
  optimizer = make_optimizer(config.optim, world.model->parameters());
  ema = std::make_unique<Ema>(config.optim.ema, world.model->parameters());
  counters.content_hash = dataset->content_hash();
  const bool resumed = resume();
  make_loader(counters.loader);
  report = std::make_unique<Report>(directory, config, counters.step);
  report->describe(world, *dataset, split, resumed ? counters.step : -1);
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
void Trainer::State::adopt(const TrainOptions& options) {
  std::error_code failed;  // a path that is missing is equivalent to none
  if (std::filesystem::equivalent(directory, run_directory(options.from), failed)) {
    fail_usage("--from names the run directory itself, {}; give run.name a new name",
               directory.string());
  }
  if (!options.fresh && !checkpoint_steps(directory / "checkpoints").empty()) {
    log::warning("--from is not used again: {} has checkpoints and goes on from its newest one",
                 directory.string());
    return;
  }
  adopt_weights(options.from, world);
}

void Trainer::State::open_directory(bool fresh) {
  lock.emplace(directory);
  if (fresh && has_content(directory)) {
    log::info("set aside: {}", set_aside(directory).string());
    lock.emplace(directory);
  }
  store = std::make_unique<CheckpointStore>(directory / "checkpoints", config.checkpoint.keep);
  saves = std::make_unique<BackgroundSaves>(*store);
}

bool Trainer::State::resume() {
  const std::optional<TrainState> state = store->load_newest();
  if (!state) return false;
  refuse_changed_run(config, *state, directory);
  refuse_changed_actions(dataset->config(), *state, directory);
  counters = restore_state(*state, {world, *optimizer, *ema});
  if (counters.content_hash != dataset->content_hash()) {
    fail(
        "{}: the data set {} is not the one that this run was trained on; give run.name a new "
        "name, or restore the files",
        directory.string(), config.data.path);
  }
  saved_step = counters.step;
  return true;
}

void Trainer::State::make_loader(const LoaderState& start) {
  ClipSpace clips(*dataset, split.train, config.data.clip_frames, dataset->fps(config.data));
  const LoaderOptions options{.data = config.data,
                              .seed = static_cast<uint64_t>(config.run.seed),
                              .pin = world.device.is_cuda()};
  loader = std::make_unique<Loader>(dataset, std::move(clips), options, start);
}

double Trainer::State::progress() const {
  const double by_steps =
      static_cast<double>(counters.step) / static_cast<double>(config.run.steps);
  const double by_clock =
      config.run.max_minutes > 0 ? elapsed() / (60 * config.run.max_minutes) : 0;
  return std::min(1.0, std::max(by_steps, by_clock));
}

void Trainer::State::save() {
  collect(/*wait=*/true);
  if (saved_step == counters.step && saved_evaluation) return;
  report->sync();
  RunCounters now = counters;
  now.elapsed_seconds = elapsed();
  saves->begin(capture_state({world, *optimizer, *ema}, now));
  saved_step = counters.step;
  saved_evaluation = true;
  if (!config.checkpoint.background) saves->finish();
}

void Trainer::State::save_and_wait() {
  save();
  saves->finish();
}

// Takes the scalars that have arrived; the newest ones wait for nobody.
void Trainer::State::collect(bool wait) {
  while (const std::optional<ArrivedScalars> arrived = scalars.pop(wait)) take(*arrived);
}

void Trainer::State::take(const ArrivedScalars& arrived) {
  const auto samples = samples_of_step.extract(arrived.step);
  const bool skipped = arrived.value("skipped") != 0;
  counters.skipped_steps += skipped ? 1 : 0;
  counters.skipped_in_a_row = skipped ? counters.skipped_in_a_row + 1 : 0;
  report->record(arrived, counters.skipped_steps);
  if (!skipped) return;
  log::warning("step {} skipped: its loss or gradients are not finite; samples {}", arrived.step,
               format_samples(samples ? samples.mapped() : std::vector<int64_t>{}));
  if (counters.skipped_in_a_row >= config.optim.max_skipped) {
    fail(
        "stopped at step {}: {} steps in a row had a loss or gradients that are not finite; lower "
        "optim.lr, or look at "
        "the samples named above. The newest checkpoint is that of step {}",
        arrived.step, counters.skipped_in_a_row, saved_step);
  }
}

void Trainer::State::after_step() {
  saves->check();
  // First the checkpoint: whatever an evaluation meets, the training up to here is kept.
  if (counters.step % config.checkpoint.every == 0) save();
  if (config.eval.every > 0 && counters.step % config.eval.every == 0) evaluate_now();
}

void Trainer::State::evaluate_now() {
  if (split.val.empty()) return;
  collect(/*wait=*/true);
  world.step = counters.step;
  world.averaged = ema->enabled();
  const AveragedWeights averaged(*ema);
  report->evaluate(world, dataset, split.val);
  counters.evaluated_step = counters.step;
  saved_evaluation = false;
}

// The evaluation that a stop signal or a crash ended, after its step's checkpoint was written.
void Trainer::State::repeat_evaluation() {
  const bool due = counters.step > 0 && config.eval.every > 0 &&
                   counters.step % config.eval.every == 0 &&
                   counters.evaluated_step != counters.step;
  if (!due) return;
  if (report->has_evaluation(counters.step)) {
    counters.evaluated_step = counters.step;
  } else {
    evaluate_now();
  }
}

int Trainer::State::finish() {
  save();
  if (counters.evaluated_step != counters.step) evaluate_now();
  save_and_wait();  // once more where the evaluation is new, so that a repeated start knows of it
  const std::vector<std::string> missed =
      missed_expectations(config.expect, directory / "log.jsonl");
  for (const std::string& line : missed) log::error("missed: {}", line);
  return missed.empty() ? 0 : 3;
}

Trainer::Trainer(const RunConfig& config, const TrainOptions& options)
    : state_(std::make_unique<State>(config, options)) {}

Trainer::~Trainer() = default;

double Trainer::loader_wait_seconds() const { return state_->wait_seconds; }
const World& Trainer::world() const { return state_->world; }
int64_t Trainer::steps_done() const { return state_->counters.step; }
const std::filesystem::path& Trainer::directory() const { return state_->directory; }

namespace {

/// The named terms of a micro-batch's loss, as its share of the step's: "train/mse".
void add_terms(std::vector<std::pair<std::string, at::Tensor>>& scalars, const Loss& loss,
               int64_t parts) {
  for (size_t i = 0; i < loss.terms.size(); ++i) {
    const at::Tensor share = loss.terms[i].second / static_cast<double>(parts);
    if (i == scalars.size()) {
      scalars.emplace_back("train/" + loss.terms[i].first, share);
    } else {
      scalars[i].second += share;
    }
  }
}

}  // namespace

StepStats Trainer::step() {
  State& s = *state_;
  const int64_t parts = s.config.optim.gradient_accumulation;
  at::Tensor total = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(s.world.device));
  std::vector<std::pair<std::string, at::Tensor>> scalars;
  std::vector<int64_t> samples;
  s.wait_seconds = 0;
  for (int64_t part = 0; part < parts; ++part) {
    const Batch batch = s.loader->next().to(s.world.device);
    const Loss loss = run_micro_batch(s.world, batch, parts);
    total += loss.total.detach();
    add_terms(scalars, loss, parts);
    samples.insert(samples.end(), batch.samples.begin(), batch.samples.end());
    s.wait_seconds += batch.wait_seconds;
  }
  const double rate = schedule_factor(s.config.optim, s.counters.step, s.progress());
  const StepStats stats = s.optimizer->step(total, rate);
  s.ema->update(stats.skipped);
  ++s.counters.step;
  s.counters.loader = s.loader->state();
  s.samples_of_step[s.counters.step] = std::move(samples);
  scalars.insert(scalars.end(), {{"train/loss", total},
                                 {"train/grad_norm", stats.gradient_norm},
                                 {"skipped", stats.skipped}});
  s.scalars.push(s.counters.step, std::move(scalars));
  s.report->stepped(s.counters.step, {stats.learning_rate, s.wait_seconds});
  s.collect(/*wait=*/false);
  return stats;
}

// What ends a run, a data set that breaks away for one, must not cost the steps since the last
// checkpoint.
void Trainer::step_or_save() {
  try {
    step();
  } catch (const Error&) {
    state_->save_and_wait();
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
    Progress line("training", by_clock ? 0 : s.config.run.steps, s.counters.step);
    while (s.counters.step < s.config.run.steps && s.progress() < 1.0) {
      step_or_save();
      s.after_step();
      line.update(s.counters.step, s.report->progress_text() + (by_clock ? s.time_left() : ""));
      throw_if_stopped();
    }
  }
  const int code = s.finish();
  log::info("run directory: {}", s.directory.string());
  return code;
}

}  // namespace praxino
