#include <algorithm>
#include <utility>

#include "fine_tuning.h"
#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/train/expect.h"
#include "resumable.h"
#include "trainer_state.h"

namespace praxino {
namespace {

std::shared_ptr<const Dataset> open_dataset(const DataConfig& data) {
  return std::make_shared<const Dataset>(Dataset::open(data.path));
}

}  // namespace

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
  // Weights that are shared out are drawn where they are kept: all of them need not fit.
  const bool drawn = !shards_weights(config.parallel, ranks);
  world = build_world(placed, dataset->config().actions,
                      {.ranks = ranks.model_ranks(), .drawn = drawn});
  world.config = config;
  world.dataset = dataset->config();
  start_clock.mark("model");
  ranks.on_first([&] { check_evaluation(options.fresh); });
  // Before the run directory is touched: what names and sizes show to be wrong changes nothing.
  std::optional<StoredTensors> source = find_source(options);
  ranks.on_first([&] { open_directory(options.fresh); });
  if (!store) open_store();
  start_clock.mark("folder");
  start_kernels(config, world.device, true);  // the optimizer's, too
  start_clock.mark("kernels");
  // Every rank draws or reads what it updates, and then they share. The axes need not be connected
  // before: NCCL takes its time.
  const bool resumes = ranks.agree(store->steps().empty() ? 0 : 1) != 0;
  if (ranks.several())
    sharded = std::make_unique<ShardedModel>(*world.model, config.parallel, ranks);
  if (!shards_weights(config.parallel, ranks)) world.model->keep_copies();
  const Parameters& own = sharded ? sharded->own() : world.model->parameters();
  ranks.on_all([&] {
    if (!drawn && !resumes) world.model->draw_weights(own);
    if (source) adopt_weights(*source, own);
  });
  source.reset();
  ema = std::make_unique<Ema>(config.optim.ema, own);
  optimizer = make_optimizer(config.optim, own,
                             sharded ? sharded->optimizer_ranks() : OptimizerRanks(), ema.get());
  if (sharded) watch = std::make_unique<StepWatch>(config, ranks, *world.model, own);
  learning = std::make_unique<LearningStep>(config, world, *optimizer, sharded.get(), watch.get());
  counters.content_hash = dataset->content_hash();
  const bool resumed = resume();
  if (resumes && !resumed) fail("{}: its checkpoints are gone since the start", directory.string());
  if (sharded) sharded->start_sharing_weights();
  settle();
  make_feed(counters.loader);
  if (config.checkpoint.background) saves->prepare(state_like(parts(), counters, ranks.first()));
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

bool Trainer::State::fine_tunes(const TrainOptions& options) const {
  if (options.from.empty()) return false;
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
  return true;
}

// The weights that a new run begins with: chosen by rank 0, and open on all.
std::optional<StoredTensors> Trainer::State::find_source(const TrainOptions& options) const {
  std::string checkpoint;
  ranks.on_first([&] {
    if (!fine_tunes(options)) return;
    const StoredWorld found = find_world(options.from);
    tell_fit(found, world);
    checkpoint = found.weights.directory().string();
  });
  checkpoint = ranks.agree(checkpoint);
  std::optional<StoredTensors> source;
  if (checkpoint.empty()) return source;
  ranks.on_all([&] { source.emplace(stored_weights(checkpoint)); });
  // Ranks on other machines may see another folder under this name.
  ranks.require_equal("checkpoint " + checkpoint, source->manifest());
  return source;
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
  feed = std::make_unique<BatchFeed>(dataset, std::move(clips), options, start, ranks.model_ranks(),
                                     world.device);
}

}  // namespace praxino
