#include "config/overrides.h"

#include <algorithm>
#include <utility>

#include "praxino/base/error.h"

namespace praxino {
namespace {

Node& child_of(Node& map, std::string_view key, Place place) {
  const auto found = std::find_if(map.children.begin(), map.children.end(),
                                  [&](const Node& n) { return n.key == key; });
  if (found != map.children.end()) return *found;
  Node child;
  child.key = key;
  child.place = place;
  map.children.push_back(std::move(child));
  return map.children.back();
}

void merge(Node value, Node& into) {
  if (value.kind == Node::Kind::kMap && into.kind == Node::Kind::kMap) {
    for (Node& child : value.children)
      merge(std::move(child), child_of(into, child.key, child.place));
  } else {
    value.key = into.key;
    into = std::move(value);
  }
}

void apply(const YamlSource& source, Place place, Node& root) {
  const std::string_view text = source.overrides[static_cast<size_t>(place.override_index)];
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    fail_usage("{} is not of the form key=value, such as optim.lr=1e-4", source.at(place));
  }
  const std::string_view path = text.substr(0, equals);
  Node* node = &root;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('.', start), path.size());
    if (end == start) fail_usage("{}: the key {} has an empty part", source.at(place), shown(path));
    if (node->kind == Node::Kind::kNull) {
      node->kind = Node::Kind::kMap;
      node->place = place;
    }
    if (node->kind != Node::Kind::kMap) {
      fail_usage("{}: {} is {}, not a section", source.at(place),
                 start == 0 ? source.name : std::string(path.substr(0, start - 1)),
                 describe(*node));
    }
    node = &child_of(*node, path.substr(start, end - start), place);
    start = end + 1;
  }
  merge(parse_yaml(source, text.substr(equals + 1), place), *node);
}

}  // namespace

void apply_overrides(const YamlSource& source, Node& root) {
  for (size_t i = 0; i < source.overrides.size(); ++i) {
    apply(source, Place{.line = 0, .override_index = static_cast<int>(i)}, root);
  }
}

}  // namespace praxino
