#include "praxino/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <numeric>
#include <thread>
#include <utility>

#include "praxino/base/error.h"
#include "praxino/base/log.h"
#include "praxino/config/load.h"
#include "praxino/train/expect.h"
#include "trainer_state.h"

namespace praxino {

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
  std::exception_ptr failed;
  try {
    evaluate_held_out();
  } catch (const Stopped&) {  // the live weights come back
    failed = std::current_exception();
  } catch (...) {
    if (ranks.several()) throw;  // the others may be gone, and the averages are everybody's
    failed = std::current_exception();
  }
  swap_averages();
  if (failed) std::rethrow_exception(failed);
  counters.evaluated_step = counters.step;
  saved_evaluation = false;
}

// By all ranks in step: data ranks share the clips, ranks that share a model compute the same; the
// first one writes it down.
void Trainer::State::evaluate_held_out() {
  const EvalTeam team = ranks.eval_team();
  std::optional<EvalReport> found;
  {
    const StopTogether together([this](int code) { return static_cast<int>(ranks.most(code)); });
    if (!eval_clips) eval_clips = load_eval_clips(config, dataset, split.val, team);
    found = evaluate(world, *eval_clips, team);
  }
  ranks.on_first([&] { report->evaluated(world, *eval_clips, *found); });
}

// Exchanges the averaged weights with the live ones, on every rank.
void Trainer::State::swap_averages() {
  if (!ema->enabled()) return;
  ema->swap();
  if (!sharded) return refresh_copies(world.model->parameters());
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
