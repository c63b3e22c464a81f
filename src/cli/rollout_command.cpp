#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <fmt/core.h>

#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "cli/world_options.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/base/progress.h"
#include "praxino/base/signals.h"
#include "praxino/data/actions.h"
#include "praxino/ops/step_graph.h"
#include "praxino/rollout/clips.h"
#include "praxino/rollout/script.h"
#include "praxino/rollout/session.h"
#include "praxino/rollout/sheet.h"
#include "praxino/video/writer.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

struct RolloutArguments {
  WorldArguments world;
  std::string actions = "recorded";
  int64_t clip = 0;
  std::string video;
  double at = 0;
  std::optional<int64_t> frames, context;
  SessionOptions session;
  std::string out;
  bool recorded() const { return actions == "recorded"; }
};

/// Actions from a sidecar or a script, cut or repeated to --frames rows. Row k leads into imagined
/// frame k.
ActionSequence given_actions(const RolloutArguments& arguments, const World& world) {
  const fs::path file = arguments.actions;
  ActionSequence sequence;
  if (file.extension() == ".csv" || file.extension() == ".safetensors") {
    ActionTable table = read_actions(file, world.fields);
    if (table.rows == 0) fail("{}: there is no row, so no frame to imagine", file.string());
    sequence = {table.rows, std::move(table.values)};
  } else {
    sequence = parse_action_script(arguments.actions, world.fields);
  }
  const size_t width = world.fields.size();
  const int64_t wanted = arguments.frames.value_or(sequence.frames);
  std::vector<float> values(static_cast<size_t>(wanted) * width);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = sequence.values[i % sequence.values.size()];
  return {wanted, std::move(values)};
}

/// The clip that the rollout starts from, `frames` long.
Clips start_clip(const RolloutArguments& arguments, const World& world, int64_t frames) {
  if (!arguments.video.empty())
    return read_video_clip(world, {arguments.video, arguments.at, frames});
  const std::shared_ptr<const Dataset> dataset = open_dataset(world);
  const Split split = split_dataset(*dataset, world.config.data.split);
  const std::vector<ClipPlan> plans =
      spread_clips(world.config, *dataset, split.val, frames, world.config.eval.clips);
  if (arguments.clip >= static_cast<int64_t>(plans.size())) {
    fail_usage("--clip {}: there are {} held-out clips, 0 to {}", arguments.clip, plans.size(),
               plans.size() - 1);
  }
  return read_clips(world.config, dataset, {plans[static_cast<size_t>(arguments.clip)]});
}

/// What to imagine: the given frames and the actions of all; truth only where the recorded actions
/// are followed.
struct Plan {
  Clips clip;
  ActionBatch actions;  // 1 T A, 1 T
  int64_t context = 0;
};

Plan make_plan(const RolloutArguments& arguments, const World& world) {
  const int64_t context = arguments.context.value_or(world.config.eval.context);
  if (arguments.recorded()) {
    Clips clip = start_clip(arguments, world,
                            context + arguments.frames.value_or(world.config.eval.horizon));
    if (!world.fields.empty() && !clip.known.any().item<bool>()) {
      log::warning(
          "{} has no recorded actions: the world imagines without; give some with --actions",
          clip.names.front());
    }
    const ActionBatch actions{clip.actions, clip.known};
    return {std::move(clip), actions, context};
  }
  const ActionSequence sequence = given_actions(arguments, world);
  Clips clip = start_clip(arguments, world, context);
  const at::Tensor values =
      at::tensor(sequence.values)
          .view({1, sequence.frames, static_cast<int64_t>(world.fields.size())});
  const ActionBatch actions{at::cat({clip.actions, values}, 1),
                            at::cat({clip.known, at::ones({1, sequence.frames}, at::kBool)}, 1)};
  return {std::move(clip), actions, context};
}

void run_rollout(const RolloutArguments& arguments) {
  const World world = open_world(arguments.world);
  const fs::path folder = arguments.out.empty() ? run_directory(arguments.world.run) / "samples"
                                                : fs::path(arguments.out);
  make_writable_folder(folder);
  const Plan plan = make_plan(arguments, world);
  const StopSignal stop;  // from here on somebody looks at it often
  const int64_t frames = plan.actions.values.size(1) - plan.context;
  Session session(world, 1, arguments.session);
  at::Tensor dream;
  const double begin = monotonic_seconds();
  {
    Progress progress("imagining", frames);
    dream = roll_out(session, plan.clip.frames, plan.actions, plan.context,
                     [&](int64_t done) { progress.update(done); });
  }
  const double seconds = monotonic_seconds() - begin;
  log::info(
      "{} frames in {:.2f} s, {:.1f} a second{}", frames, seconds,
      static_cast<double>(frames) / seconds,
      session.replays() > 0 ? fmt::format(", {} replays of a CUDA graph", session.replays()) : "");
  RolloutPictures pictures{.title = fmt::format("{}, step {}", plan.clip.names.front(), world.step),
                           .truth = {},
                           .dream = dream[0],
                           .context = plan.context,
                           .actions = plan.actions.values[0],
                           .known = plan.actions.known[0],
                           .fields = world.fields};
  if (arguments.recorded()) pictures.truth = plan.clip.frames[0];
  write_rollout_video(folder / "rollout.mp4", pictures, plan.clip.fps);
  write_png(folder / "rollout.png", contact_sheet({pictures}).frames());
  fmt::print("{}\n{}\n", (folder / "rollout.mp4").string(), (folder / "rollout.png").string());
}

}  // namespace

void add_rollout_command(CLI::App& app, int&) {
  CLI::App* command = app.add_subcommand(
      "rollout", "imagine how a clip goes on under given actions: mp4 and picture");
  const auto arguments = std::make_shared<RolloutArguments>();
  add_world_options(*command, arguments->world);
  command
      ->add_option("--actions", arguments->actions,
                   "recorded (default), a .csv with one row an imagined frame, or a script: "
                   "forward*12,turn:8*6")
      ->option_text("WHAT");
  CLI::Option* video =
      command->add_option("--video", arguments->video, "start from this video file instead")
          ->option_text("FILE");
  command->add_option("--clip", arguments->clip, "which held-out clip, from 0")
      ->check(CLI::Range(int64_t{0}, int64_t{999999}))
      ->excludes(video)
      ->option_text("N");
  command->add_option("--at", arguments->at, "where in the video to start")
      ->needs(video)
      ->option_text("SECONDS");
  command
      ->add_option("--frames", arguments->frames, "frames to imagine; a shorter script is repeated")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->option_text("N");
  command->add_option("--context", arguments->context, "true frames given (default: eval.context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->option_text("N");
  command->add_option("--steps", arguments->session.steps, "sampler steps")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->option_text("K");
  command
      ->add_option("--context-noise", arguments->session.context_noise,
                   "1 - tau of the frames that the rollout continues")
      ->check(CLI::Range(0.0, 0.9))
      ->option_text("X");
  command->add_option("--window", arguments->session.window, "frames remembered")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->option_text("N");
  command->add_option("--seed", arguments->session.seed, "of the noise: same seed, same frames")
      ->option_text("SEED");
  command->add_flag("--cuda-graphs,!--no-cuda-graphs", arguments->session.cuda_graphs,
                    "on a GPU, record the model's work for a frame once and replay it (default: "
                    "run.cuda_graphs)");
  command->add_option("--out", arguments->out, "folder for the results (default: RUN_DIR/samples)")
      ->option_text("DIR");
  command->callback([arguments] {
#if defined(PRAXINO_CUDA)
    ops::use_cuda_graphs();
#endif
    run_rollout(*arguments);
  });
}

}  // namespace praxino
