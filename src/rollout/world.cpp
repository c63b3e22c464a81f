#include "praxino/rollout/world.h"

#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "praxino/base/error.h"
#include "praxino/base/file.h"
#include "praxino/base/log.h"
#include "praxino/checkpoint/store.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

/// At most eight problems, and how many more there are.
std::string listed(const std::vector<std::string>& problems) {
  constexpr size_t kShown = 8;
  const size_t shown = std::min(kShown, problems.size());
  std::string text = fmt::format(
      "{}", fmt::join(problems.begin(), problems.begin() + static_cast<int64_t>(shown), "; "));
  if (shown < problems.size()) text += fmt::format("; and {} more", problems.size() - shown);
  return text;
}

bool is_checkpoint(const fs::path& folder) { return fs::exists(folder / "manifest.json"); }

void require_whole(const fs::path& checkpoint) {
  const std::vector<std::string> problems = verify_checkpoint(checkpoint);
  if (!problems.empty())
    fail("checkpoint {} is damaged: {}", checkpoint.string(), listed(problems));
}

fs::path newest_whole(const std::vector<int64_t>& steps, const fs::path& folder) {
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const fs::path directory = checkpoint_directory(folder, *step);
    const std::vector<std::string> problems = verify_checkpoint(directory);
    if (problems.empty()) return directory;
    log::warning("checkpoint {} is damaged ({}); trying the one before it", directory.string(),
                 listed(problems));
  }
  fail("{}: none of the {} checkpoints is whole", folder.string(), steps.size());
}

/// The verified checkpoint directory that a path and a wish for a step mean.
fs::path choose_checkpoint(const fs::path& path, const std::optional<int64_t>& step) {
  if (!fs::is_directory(path))
    fail("{}: there is no such folder; give a run directory such as runs/<name>", path.string());
  if (is_checkpoint(path)) {
    if (step)
      fail_usage("{} is one checkpoint already; to choose step {} give the run directory",
                 path.string(), *step);
    require_whole(path);
    return path;
  }
  const fs::path folder = fs::is_directory(path / "checkpoints") ? path / "checkpoints" : path;
  // Not by a CheckpointStore: it is the writer's, and would tidy away what a run in progress is
  // about to rename.
  const std::vector<int64_t> steps = checkpoint_steps(folder);
  if (steps.empty()) {
    fail(
        "{}: no checkpoint here (checkpoints/step-*); train the run first, or give the folder of "
        "another run",
        path.string());
  }
  if (!step) return newest_whole(steps, folder);
  if (std::ranges::find(steps, *step) == steps.end()) {
    fail("{}: no checkpoint of step {}; there are {}", folder.string(), *step,
         fmt::join(steps.rbegin(), steps.rend(), ", "));
  }
  const fs::path wanted = checkpoint_directory(folder, *step);
  require_whole(wanted);
  return wanted;
}

int64_t read_step(const fs::path& file) {
  try {
    return nlohmann::json::parse(read_file(file)).at("step").get<int64_t>();
  } catch (const nlohmann::json::exception& error) {
    fail("{}: cannot read the key 'step': {}", file.string(), error.what());
  }
}

/// Copies the weights in, or names every tensor that does not fit.
void load_weights(const Parameters& parameters, const StoredTensors& weights) {
  std::vector<std::string> problems;
  for (const Parameter& parameter : parameters.all()) {
    const std::vector<int64_t>* const sizes = weights.sizes(parameter.name);
    if (sizes == nullptr) {
      problems.push_back(fmt::format("'{}' is missing", parameter.name));
    } else if (parameter.value.sizes() != *sizes) {
      problems.push_back(fmt::format("'{}' is [{}] but the model's is [{}]", parameter.name,
                                     fmt::join(*sizes, ", "),
                                     fmt::join(parameter.value.sizes(), ", ")));
    }
  }
  for (const std::string& name : weights.names()) {
    if (parameters.find(name) == nullptr)
      problems.push_back(fmt::format("'{}' is not part of the model", name));
  }
  if (!problems.empty())
    fail("{} does not fit the model of its own config.yaml: {}",
         (weights.directory() / weights.name()).string(), listed(problems));

  const at::NoGradGuard no_grad;
  for (const Parameter& parameter : parameters.all())
    parameter.value.copy_(weights.read(parameter.name));
}

std::string ranged(const ActionField& field) {
  return fmt::format("{} in [{}, {}]", field.kind, field.low, field.high);
}

std::string described(const ActionField& field) {
  return fmt::format("{} of size {}", ranged(field), field.size);
}

auto find_field(const std::vector<ActionField>& fields, const std::string& name) {
  return std::ranges::find(fields, name, &ActionField::name);
}

World assemble(const RunConfig& config, std::vector<ActionField> fields, const at::Device& device,
               bool bf16, const BuildOptions& build) {
  World world;
  world.config = config;
  world.fields = std::move(fields);
  world.dataset.actions = world.fields;
  world.device = device;
  world.tokenizer = make_tokenizer(config.tokenizer, config.data.size);
  world.objective = make_objective(config.objective);
  const WorldModelOptions options{.device = world.device,
                                  .bf16 = bf16,
                                  .clip_frames = config.data.clip_frames,
                                  .seed = static_cast<uint64_t>(config.run.seed),
                                  .ranks = build.ranks,
                                  .drawn = build.drawn};
  world.model =
      std::make_unique<WorldModel>(config.model, world.tokenizer->grid(), world.fields, options);
  start_kernels(config, world.device, false);
  return world;
}

}  // namespace

World build_world(const RunConfig& config, std::vector<ActionField> fields,
                  const BuildOptions& options) {
  // By default cuBLAS may add up the parts of a bfloat16 product in bfloat16.
  at::globalContext().setAllowBF16ReductionCuBLAS(false);
  const at::Device device = parse_device(config.run.device);
  return assemble(config, std::move(fields), device, use_bf16(config.run.precision, device),
                  options);
}

World plan_world(const RunConfig& config, std::vector<ActionField> fields, bool bf16,
                 const BuildOptions& options) {
  return assemble(config, std::move(fields), at::Device(at::kMeta), bf16, options);
}

StoredTensors stored_weights(const fs::path& checkpoint, bool averaged) {
  std::optional<StoredTensors> weights;
  if (averaged) weights = StoredTensors::open(checkpoint, "ema");
  if (!weights) weights = StoredTensors::open(checkpoint, "model");
  if (!weights) fail("checkpoint {} holds no weights", checkpoint.string());
  return *std::move(weights);
}

StoredWorld find_world(const fs::path& run_or_checkpoint, const LoadOptions& options) {
  const fs::path directory = choose_checkpoint(run_or_checkpoint, options.step);
  const fs::path config_file = directory / "config.yaml";
  const fs::path dataset_file = directory / "dataset.yaml";
  RunConfig config = parse_stored_run(read_file(config_file), config_file.string());
  config.run.device = options.device;
  DatasetConfig dataset;
  if (fs::exists(dataset_file))
    dataset = parse_dataset(read_file(dataset_file), dataset_file.string());

  StoredTensors weights = stored_weights(directory, options.ema);
  return {.config = std::move(config),
          .dataset = std::move(dataset),
          .step = read_step(directory / "state.json"),
          .weights = std::move(weights)};
}

World load_world(const fs::path& run_or_checkpoint, const LoadOptions& options) {
  const StoredWorld stored = find_world(run_or_checkpoint, options);
  World world = build_world(stored.config, stored.dataset.actions);
  world.dataset = stored.dataset;
  world.step = stored.step;
  world.averaged = stored.weights.name() == "ema";
  load_weights(world.model->parameters(), stored.weights);
  log::info("loaded {} of step {} from {}", world.averaged ? "averaged weights" : "weights",
            world.step, stored.weights.directory().string());
  return world;
}

fs::path run_directory(const fs::path& run_or_checkpoint) {
  // "runs/a/" ends in an empty name; without this its parent would be "runs/a".
  const fs::path path =
      run_or_checkpoint.has_filename() ? run_or_checkpoint : run_or_checkpoint.parent_path();
  const fs::path folder = is_checkpoint(path) ? path.parent_path() : path;
  return folder.filename() == "checkpoints" ? folder.parent_path() : folder;
}

std::vector<std::string> changed_fields(const std::vector<ActionField>& source,
                                        const std::vector<ActionField>& target) {
  std::vector<std::string> changed;
  for (const ActionField& field : target) {
    const auto before = find_field(source, field.name);
    if (before == source.end() || !before->is_number() || !field.is_number()) continue;
    if (before->kind == field.kind && before->reach() == field.reach()) continue;
    changed.push_back(
        fmt::format("'{}' (was {}, is {})", field.name, ranged(*before), ranged(field)));
  }
  return changed;
}

void check_fields(const World& world, const DatasetConfig& dataset) {
  const std::vector<ActionField> ours = without_units(world.fields),
                                 theirs = without_units(dataset.actions);
  std::vector<std::string> problems;
  for (const ActionField& field : ours) {
    const auto other = find_field(theirs, field.name);
    if (other == theirs.end()) {
      problems.push_back(fmt::format("the data set has no field '{}'", field.name));
    } else if (!(*other == field)) {
      problems.push_back(fmt::format("field '{}' was {} and is {}", field.name, described(field),
                                     described(*other)));
    }
  }
  for (const ActionField& field : theirs) {
    if (find_field(ours, field.name) == ours.end()) {
      problems.push_back(fmt::format("the world does not know the field '{}'", field.name));
    }
  }
  if (problems.empty() && ours != theirs) problems.emplace_back("the fields come in another order");
  if (!problems.empty()) {
    fail("the data set's actions are not those that the world was trained on: {}",
         listed(problems));
  }
}

}  // namespace praxino
