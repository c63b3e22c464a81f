#include "config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <utility>

#include "config/node.h"
#include "praxino/base/error.h"
#include "praxino/config/load.h"

namespace praxino {
namespace {

/// Says what is wrong with `key` unless `holds`.
class Checker {
 public:
  explicit Checker(const PlaceOf& place_of) : place_of_(place_of) {}

  template <class... Args>
  void require(bool holds, std::string_view key, fmt::format_string<Args...> text,
               Args&&... args) const {
    if (holds) return;
    throw Error(fmt::format("{}: {} {}", place_of_(key), key,
                            fmt::format(text, std::forward<Args>(args)...)),
                ErrorKind::kUsage);
  }

 private:
  const PlaceOf& place_of_;
};

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_device(std::string_view text) {
  constexpr std::string_view kNumbered = "cuda:";
  return text == "auto" || text == "cpu" || text == "cuda" ||
         (text.starts_with(kNumbered) && text.size() < 10 &&
          is_digits(text.substr(kNumbered.size())));
}

bool stays_below(const std::filesystem::path& path) {
  return !path.empty() && path.is_relative() &&
         std::find(path.begin(), path.end(), "..") == path.end();
}

void check_names(const RunConfig& c, const Checker& check) {
  const std::string& name = c.run.name;
  check.require(!name.empty(), "run.name", "must not be empty: it names the folder of the run");
  check.require(name.find_first_of("/\\") == std::string::npos && name[0] != '.', "run.name",
                "is {}, but a folder name without '/' and without '.' in front is needed; "
                "run.output says where",
                shown(name));
  check.require(!c.run.output.empty(), "run.output",
                "must not be empty; '.' is the current folder");
  check.require(is_device(c.run.device), "run.device",
                "is {}, but must be auto, cpu, cuda or cuda:N", shown(c.run.device));
  check.require(!c.data.path.empty(), "data.path", "must name the folder of the data set");
  for (const std::string& file : c.data.split.val_files) {
    check.require(stays_below(file), "data.split.val_files",
                  "holds {}, but paths below data.path are needed", shown(file));
  }
}

void check_shapes(const RunConfig& c, const Checker& check) {
  const auto [height, width] = c.data.size;
  const int64_t patch = c.tokenizer.patch;
  check.require(height % patch == 0 && width % patch == 0, "data.size",
                "is [{}, {}], but both must be multiples of tokenizer.patch ({})", height, width,
                patch);
  constexpr int64_t kMostPixels = 4096 * 2304;  // as the reader of videos allows
  check.require(height * width <= kMostPixels, "data.size",
                "is [{}, {}], but a frame can have at most {} pixels", height, width, kMostPixels);
  const ModelConfig& m = c.model;
  check.require(m.width % m.heads == 0, "model.heads",
                "is {}, which does not divide model.width ({})", m.heads, m.width);
  const int64_t head_width = m.width / m.heads;
  check.require(head_width >= 8 && head_width % 2 == 0, "model.heads",
                "is {}: model.width / heads is {}, but each head needs an even width of at least 8",
                m.heads, head_width);
  check.require(m.kv_heads == 0 || m.heads % m.kv_heads == 0, "model.kv_heads",
                "is {}, which does not divide model.heads ({})", m.kv_heads, m.heads);
}

void check_time(const RunConfig& c, const Checker& check) {
  const ModelConfig& m = c.model;
  check.require(m.window != 1, "model.window",
                "is 1: a frame would see only itself; use 0 or at least 2");
  const int64_t window = m.window > 0 ? m.window : c.data.clip_frames;
  check.require(
      m.sinks<window, "model.sinks", "is {}, but must be less than {} ({})", m.sinks, m.window> 0
          ? "model.window"
          : "data.clip_frames",
      window);
  check.require(m.attention != "space_time" || m.time_every <= m.depth, "model.time_every",
                "is {}, but model.depth is {}: no block would attend along time", m.time_every,
                m.depth);
  check.require(c.eval.context >= 1, "eval.context",
                "is {}, but at least one true frame must be given", c.eval.context);
}

void check_expectations(const RunConfig& c, const Checker& check) {
  for (size_t i = 0; i < c.expect.size(); ++i) {
    const Expectation& e = c.expect[i];
    const std::string key = fmt::format("expect[{}]", i);
    check.require(!e.metric.empty(), key, "needs a metric, such as train/loss");
    check.require(std::isfinite(e.below) || std::isfinite(e.above), key,
                  "({}) needs 'below' or 'above'", e.metric);
    check.require(e.above < e.below, key, "({}) cannot hold: above {} and below {}", e.metric,
                  e.above, e.below);
    check.require(
        e.at <= c.run.steps, key,
        "({}) is judged at step {}, but run.steps is {}; expect=[] drops all expectations",
        e.metric, e.at, c.run.steps);
  }
}

bool is_identifier(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), allowed);
}

}  // namespace

void check_run(const RunConfig& config, const PlaceOf& place_of) {
  const Checker check(place_of);
  check_names(config, check);
  check_shapes(config, check);
  check_time(config, check);
  check_expectations(config, check);
}

void check_run(const RunConfig& config, std::string_view name) {
  check_run(config, [&](std::string_view) { return std::string(name); });
}

void check_dataset(const DatasetConfig& config, const PlaceOf& place_of) {
  const Checker check(place_of);
  std::set<std::string_view> names;
  for (size_t i = 0; i < config.actions.size(); ++i) {
    const ActionField& action = config.actions[i];
    const std::string key = fmt::format("actions[{}]", i);
    check.require(is_identifier(action.name), key,
                  "has the name {}, but letters, digits and '_' are needed", shown(action.name));
    check.require(names.insert(action.name).second, key,
                  "has the name '{}', which an entry before it has, too", action.name);
    const bool ranged = action.kind == "axis" || action.kind == "delta";
    check.require(!ranged || action.low < action.high, key,
                  "({}) has low {} and high {}, but low must be less", action.name, action.low,
                  action.high);
    check.require(action.kind != "discrete" || action.size >= 2, key,
                  "({}) has size {}, but at least 2 is needed", action.name, action.size);
  }
}

}  // namespace praxino
