#include "praxino/config/load.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <tuple>
#include <utility>

#include "config/check.h"
#include "config/guards.h"
#include "config/keys.h"
#include "config/node.h"
#include "config/overrides.h"
#include "config/read.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"

namespace praxino {
namespace {

constexpr std::string_view kAliasRefused =
    "an alias is refused: write the value again (quote text that begins with '*')";
constexpr size_t kMostDepth = 64;
constexpr size_t kMostValues = 20'000;

/// Builds the tree from yaml-cpp's events. Events, not YAML::Node: that one keeps duplicate keys in
/// silence and follows aliases, so that a few hundred bytes become millions of nodes.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const YamlSource& source, std::string_view text, Place place)
      : source_(source), text_(text), place_(place) {
    root_.place = place;
  }

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(started_, true))
      refuse(mark, "there is text after the end of the YAML document");
  }
  void OnDocumentEnd() override {}

  void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
    refuse(mark, fmt::format("the anchor {} is refused (quote text that begins with '&')",
                             shown("&" + name)));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, kAliasRefused); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    if (wants_key()) refuse(mark, "a key is empty");
    add(make(mark, Node::Kind::kNull));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                const std::string& value) override {
    refuse_tag(mark, tag);
    refuse_open_quote(mark);
    if (wants_key()) {
      open_.back().key = value;
      open_.back().key_place = place_of(mark);
      open_.back().has_key = true;
      return;
    }
    Node node = make(mark, Node::Kind::kScalar);
    node.text = value;
    node.quoted = tag == "!";
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, Node::Kind::kList);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, Node::Kind::kMap);
  }
  void OnMapEnd() override {
    refuse_duplicates(open_.back().node);
    close();
  }

 private:
  /// A list or map whose end has not come yet.
  struct Open {
    Node node;
    bool has_key = false;
    std::string key;
    Place key_place;
  };

  Place place_of(const YAML::Mark& mark) const {
    return place_.override_index >= 0 ? place_ : Place{.line = mark.line + 1};
  }

  [[noreturn]] void refuse(const YAML::Mark& mark, std::string_view what) const {
    fail_usage("{}: {}", source_.at(place_of(mark)), what);
  }

  /// yaml-cpp reports "?" for plain values and "!" for quoted ones; a lone '!' in the text looks
  /// like a quote.
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    const bool lone = tag == "!" && static_cast<size_t>(mark.pos) < text_.size() &&
                      text_[static_cast<size_t>(mark.pos)] == '!';
    if (lone || (tag != "!" && tag != "?" && !tag.empty())) {
      refuse(mark,
             fmt::format("the tag {} is refused (quote text that begins with '!')", shown(tag)));
    }
  }

  /// yaml-cpp takes the end of the file for the end of a quoted text.
  void refuse_open_quote(const YAML::Mark& mark) const {
    const std::string_view rest =
        text_.substr(std::min(static_cast<size_t>(mark.pos), text_.size()));
    const char quote = rest.empty() ? ' ' : rest.front();
    if (quote != '"' && quote != '\'') return;
    for (size_t i = 1; i < rest.size(); ++i) {
      if (rest[i] == '\\' && quote == '"') {
        ++i;
      } else if (rest[i] == quote) {
        const bool doubled = quote == '\'' && i + 1 < rest.size() && rest[i + 1] == quote;
        if (!doubled) return;
        ++i;  // '' is a quote inside the text
      }
    }
    refuse(mark, "the quote that begins here is not closed");
  }

  bool wants_key() const {
    return !open_.empty() && open_.back().node.kind == Node::Kind::kMap && !open_.back().has_key;
  }

  Node make(const YAML::Mark& mark, Node::Kind kind) {
    if (++values_ > kMostValues) refuse(mark, fmt::format("more than {} values", kMostValues));
    Node node;
    node.kind = kind;
    node.place = place_of(mark);
    return node;
  }

  void open(const YAML::Mark& mark, const std::string& tag, Node::Kind kind) {
    refuse_tag(mark, tag);
    // yaml-cpp also takes a bracket for a key when the text ends before it is closed.
    if (wants_key()) refuse(mark, "a list or section cannot be a key (or a bracket is not closed)");
    if (open_.size() == kMostDepth)
      refuse(mark, fmt::format("nested deeper than {} levels", kMostDepth));
    open_.push_back({.node = make(mark, kind), .has_key = false, .key = {}, .key_place = {}});
  }

  void close() {
    Node node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Node::Kind::kMap) {
      node.key = std::move(parent.key);
      node.place = parent.key_place;  // a block below its key begins one line later
      parent.has_key = false;
    }
    parent.node.children.push_back(std::move(node));
  }

  void refuse_duplicates(const Node& map) const {
    std::vector<const Node*> sorted;
    for (const Node& child : map.children) sorted.push_back(&child);
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](auto* a, auto* b) { return a->key < b->key; });
    const auto twin = std::adjacent_find(sorted.begin(), sorted.end(),
                                         [](auto* a, auto* b) { return a->key == b->key; });
    if (twin == sorted.end()) return;
    std::string path;
    for (const Open& parent : open_) {
      if (parent.has_key) path += parent.key + ".";
    }
    const Node& second = **std::next(twin);
    const int first_line = (*twin)->place.line;
    fail_usage("{}: duplicate key {}{}", source_.at(second.place), shown(path + second.key),
               first_line > 0 ? fmt::format("; it is on line {} already", first_line) : "");
  }

  const YamlSource& source_;
  std::string_view text_;
  Place place_;
  bool started_ = false;
  size_t values_ = 0;
  Node root_;
  std::vector<Open> open_;
};

/// The place of a dotted key or of the nearest section around it, as far as the file has them.
PlaceOf places_in(const YamlSource& source, const Node& root) {
  return [&source, &root](std::string_view key) {
    const Node* node = &root;
    while (!key.empty()) {
      const size_t end = std::min(key.find_first_of(".["), key.size());
      const Node* next = node->find(key.substr(0, end));
      if (next == nullptr) break;
      node = next;
      key.remove_prefix(end);
      if (key.starts_with('[')) {
        const size_t index = static_cast<size_t>(std::stoul(std::string(key.substr(1))));
        if (index < node->children.size()) node = &node->children[index];
        key.remove_prefix(key.find(']') + 1);
      }
      if (key.starts_with('.')) key.remove_prefix(1);
    }
    // A default that clashes has no line: only the file's name then.
    return key.empty() ? source.at(node->place) : source.name;
  };
}

template <class Config>
Config read_tree(const YamlSource& source, Node& root) {
  apply_overrides(source, root);
  Config config;
  read_document(source, root, config);
  return config;
}

RunConfig read_run(const YamlSource& source, Node root) {
  const RunConfig config = read_tree<RunConfig>(source, root);
  check_run(config, places_in(source, root));
  return config;
}

// For checkpoints of earlier versions. Keys that were removed: they may stand there and mean
// nothing.
constexpr std::pair<std::string_view, std::string_view> kRetiredKeys[] = {{"run", "log_every"}};
// Keys that were added and whose default is not how it was before.
constexpr std::tuple<std::string_view, std::string_view, std::string_view> kAddedKeys[] = {
    {"model", "input_scaling", "false"}};

/// An unreadable configuration is wrong usage.
std::string read_config_file(const std::filesystem::path& path) {
  try {
    return read_file(path, kMostConfigBytes);
  } catch (const Error& error) {
    throw Error(error.what(), ErrorKind::kUsage);
  }
}

}  // namespace

Node parse_yaml(const YamlSource& source, std::string_view text, Place place) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  refuse_odd_text(source, text, place);
  TreeBuilder builder(source, text, place);
  std::istringstream stream{std::string(text)};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    const Place at = place.override_index >= 0 ? place : Place{.line = error.mark.line + 1};
    // Anchors are refused where they stand, so that every alias is one to an unknown anchor.
    if (error.msg.starts_with(YAML::ErrorMsg::UNKNOWN_ANCHOR))
      fail_usage("{}: {}", source.at(at), kAliasRefused);
    fail_usage("{}: not valid YAML: {}", source.at(at), error.msg);
  }
  return builder.take();
}

RunConfig parse_run(std::string_view text, std::string_view name,
                    const std::vector<std::string>& overrides) {
  const YamlSource source{.name = std::string(name), .overrides = overrides, .keys = all_keys()};
  return read_run(source, parse_yaml(source, text));
}

RunConfig parse_stored_run(std::string_view text, std::string_view name) {
  YamlSource source{.name = std::string(name), .overrides = {}, .keys = all_keys()};
  Node root = parse_yaml(source, text);
  for (const auto& [section, key] : kRetiredKeys) {
    const auto in_section = std::ranges::find(root.children, section, &Node::key);
    if (in_section == root.children.end()) continue;
    std::erase_if(in_section->children, [&](const Node& node) { return node.key == key; });
  }
  // Every key is listed there, so one that is missing came later.
  for (const auto& [section, key, before] : kAddedKeys) {
    const Node* in_section = root.find(section);
    if (in_section == nullptr || in_section->find(key) == nullptr)
      source.overrides.push_back(fmt::format("{}.{}={}", section, key, before));
  }
  return read_run(source, std::move(root));
}

RunConfig load_run(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parse_run(read_config_file(path), path.string(), overrides);
}

DatasetConfig parse_dataset(std::string_view text, std::string_view name) {
  const YamlSource source{
      .name = std::string(name), .overrides = {}, .keys = list_keys<DatasetConfig>()};
  Node root = parse_yaml(source, text);
  const DatasetConfig config = read_tree<DatasetConfig>(source, root);
  check_dataset(config, places_in(source, root));
  return config;
}

DatasetConfig load_dataset(const std::filesystem::path& path) {
  return parse_dataset(read_config_file(path), path.string());
}

}  // namespace praxino
