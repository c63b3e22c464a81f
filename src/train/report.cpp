#include "report.h"

#include <fmt/format.h>

#include <cmath>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/config/load.h"
#include "praxino/train/event_file.h"
#include "praxino/train/run_log.h"
#include "praxino/video/writer.h"

namespace praxino {
namespace {

constexpr double kFlushSeconds = 10;
constexpr double kRateHalfLife = 20;  // steps over which the shown speed is averaged

std::string_view as_text(const std::vector<uint8_t>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

struct Report::State {
  State(const std::filesystem::path& dir, const RunConfig& c, int64_t step)
      : directory(dir),
        config(c),
        log(dir / "log.jsonl", step > 0 ? std::optional<int64_t>(step) : std::nullopt),
        // Also at 0: a start that was killed before its first checkpoint has left curves.
        events(dir, step),
        frames_per_step(c.data.batch * c.data.clip_frames * c.optim.gradient_accumulation),
        last_step_at(monotonic_seconds()) {}

  std::filesystem::path directory;
  RunConfig config;
  RunLog log;
  EventFile events;
  int64_t frames_per_step;
  std::map<int64_t, HostFacts> pending;
  double loss = 0;  // of the newest step that has arrived, and its loader wait
  double loader_wait = 0;
  double last_step_at;
  double step_seconds = 0;  // averaged
  double flushed_at = 0;

  void write_results(const EvalReport& report, const World& world, const EvalClips& clips);
  void write(int64_t step, const Metrics& metrics) {
    log.write(step, metrics);
    events.scalars(metrics, step);
    if (monotonic_seconds() - flushed_at > kFlushSeconds) {
      events.flush();
      flushed_at = monotonic_seconds();
    }
  }
};

Report::Report(const std::filesystem::path& directory, const RunConfig& config, int64_t step) {
  std::filesystem::create_directories(directory / "samples");
  write_file_atomic(directory / "config.yaml", to_yaml(config));
  state_ = std::make_unique<State>(directory, config, step);
}

Report::~Report() = default;

void Report::describe(const World& world, const Dataset& dataset, const Split& split,
                      int64_t resumed_at) {
  const RunConfig& c = state_->config;
  const auto frames = [&](const std::vector<Span>& spans) {
    int64_t sum = 0;
    for (const Span& span : spans) sum += span.last - span.first;
    return sum;
  };
  log::info(
      "data: {} ({} files, {} training frames, {} held out), {} frames of {}x{} at {} fps a clip",
      c.data.path, dataset.files().size(), frames(split.train), frames(split.val),
      c.data.clip_frames, c.data.size[1], c.data.size[0], dataset.fps(c.data).str());
  const double flops = 3 * world.model->forward_flops(c.data.clip_frames) *
                       static_cast<double>(c.data.batch * c.optim.gradient_accumulation);
  log::info(
      "model: {:.2f} M parameters, {} tokens a frame, {} on {}, {:.1f} GFLOP a step",
      static_cast<double>(world.model->parameters().count()) / 1e6, world.tokenizer->grid().count(),
      use_bf16(c.run.precision, world.device) ? "bf16" : "fp32", world.device.str(), flops / 1e9);
  if (resumed_at >= 0) log::info("resuming at step {} of {}", resumed_at, c.run.steps);
}

void Report::stepped(int64_t step, HostFacts facts) {
  State& s = *state_;
  const double now = monotonic_seconds();
  facts.seconds = now - s.last_step_at;
  s.last_step_at = now;
  s.step_seconds = s.step_seconds == 0
                       ? facts.seconds
                       : s.step_seconds + (facts.seconds - s.step_seconds) / kRateHalfLife;
  s.pending[step] = facts;
}

void Report::record(const ArrivedScalars& arrived, int64_t skipped_steps) {
  State& s = *state_;
  const HostFacts facts = s.pending[arrived.step];
  s.pending.erase(arrived.step);
  Metrics metrics;
  for (const auto& [name, value] : arrived.values) {
    if (name.starts_with("train/")) metrics.emplace_back(name, value);
  }
  const double seconds = std::max(facts.seconds, 1e-9);
  metrics.emplace_back("train/lr", facts.learning_rate);
  metrics.emplace_back("train/steps_per_second", 1 / seconds);
  metrics.emplace_back("train/frames_per_second", static_cast<double>(s.frames_per_step) / seconds);
  s.loss = arrived.value("train/loss");
  s.loader_wait = std::min(1.0, facts.wait_seconds / seconds);
  metrics.emplace_back("train/loader_wait", s.loader_wait);
  metrics.emplace_back("train/skipped_steps", static_cast<double>(skipped_steps));
  s.write(arrived.step, metrics);
}

namespace {

// Files that only inform: a full disk costs the picture, not the run.
template <class Write>
void try_to_write(const Write& write) {
  try {
    write();
  } catch (const Error& error) {
    log::warning("training goes on without this file: {}", error.what());
  }
}

}  // namespace

void Report::State::write_results(const EvalReport& report, const World& world,
                                  const EvalClips& clips) {
  try_to_write(
      [&] { write_file_atomic(directory / "eval.json", report_json(report, world.step)); });
  const Canvas sheet = contact_sheet(report_pictures(world, clips, report, kEvalPictures));
  try_to_write([&] {
    write_png(directory / "samples" / fmt::format("step-{:08d}.png", world.step), sheet.frames());
  });
  events.image("eval/rollouts", as_text(encode_png(sheet.frames())), world.step);
  events.flush();
}

void Report::evaluated(const World& world, const EvalClips& clips, const EvalReport& report) {
  State& s = *state_;
  const int64_t step = world.step;
  s.write(step, Metrics(report.metrics.begin(), report.metrics.end()));
  s.write_results(report, world, clips);
  const auto value = [&](const char* name) {
    const auto found = report.metrics.find(name);
    return found == report.metrics.end() ? std::nan("") : found->second;
  };
  log::info(
      "step {}: eval loss {:.4f}, next frame {:.2f} dB (copying the last frame: {:.2f}), {} frames "
      "ahead {:.2f} dB "
      "over copying, action-shuffle ratio {:.3f}",
      step, value("eval/loss"), value("eval/psnr@1"), value("eval/psnr_copy@1"),
      s.config.eval.horizon, value("eval/psnr_gain_over_copy"), value("eval/action_shuffle_ratio"));
  s.last_step_at = monotonic_seconds();  // the evaluation does not count as a slow step
}

bool Report::has_evaluation(int64_t step) const { return state_->log.holds(step, "eval/loss"); }

void Report::sync() { state_->log.sync(); }

std::string Report::progress_text() const {
  const State& s = *state_;
  const double rate = s.step_seconds > 0 ? 1 / s.step_seconds : 0;
  return fmt::format("loss {:.4f}  {:.2f} steps/s  {:.0f} frames/s  wait {:.0f} %", s.loss, rate,
                     rate * static_cast<double>(s.frames_per_step), 100 * s.loader_wait);
}

std::string first_difference(const std::string& before, const std::string& now) {
  if (before == now) return {};
  size_t a = 0, b = 0;
  std::string section;
  while (a < before.size() || b < now.size()) {
    const size_t a_end = std::min(before.find('\n', a), before.size()),
                 b_end = std::min(now.find('\n', b), now.size());
    const std::string was =
        before.substr(std::min(a, before.size()), a_end - std::min(a, before.size()));
    const std::string is = now.substr(std::min(b, now.size()), b_end - std::min(b, now.size()));
    if (!was.empty() && was[0] != ' ') section = was.substr(0, was.find(':'));
    if (was != is) return fmt::format("{}: was '{}', is '{}'", section, was, is);
    a = a_end + 1;
    b = b_end + 1;
  }
  return {};
}

bool has_content(const std::filesystem::path& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().filename() != "lock") return true;
  }
  return false;
}

std::filesystem::path set_aside(const std::filesystem::path& directory) {
  for (int i = 1;; ++i) {
    const std::filesystem::path target = directory.string() + fmt::format(".old-{}", i);
    if (std::filesystem::exists(target)) continue;
    std::filesystem::rename(directory, target);
    return target;
  }
}

std::string format_samples(const std::vector<int64_t>& samples) {
  constexpr size_t kShown = 16;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, samples.size()); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(samples[i]);
  }
  return samples.size() > kShown ? fmt::format("{}, ... ({} samples)", text, samples.size()) : text;
}

}  // namespace praxino
