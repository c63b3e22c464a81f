#include "config/node.h"

#include <fmt/core.h>

#include <algorithm>

#include "praxino/base/log.h"

namespace praxino {

const Node* Node::find(std::string_view name) const {
  const auto found =
      std::find_if(children.begin(), children.end(), [&](const Node& n) { return n.key == name; });
  return found == children.end() ? nullptr : &*found;
}

std::string YamlSource::at(Place place) const {
  if (place.override_index >= 0) {
    return "override " + shown(overrides[static_cast<size_t>(place.override_index)]);
  }
  return place.line > 0 ? fmt::format("{} line {}", name, place.line) : name;
}

std::string shown(std::string_view text) {
  constexpr size_t kMost = 80;
  return "'" + log::escape(text.substr(0, kMost)) + (text.size() > kMost ? "...'" : "'");
}

std::string describe(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull: return "nothing";
    case Node::Kind::kList: return "a list";
    case Node::Kind::kMap: return "a section";
    case Node::Kind::kScalar: break;
  }
  return node.quoted ? "the text " + shown(node.text) : shown(node.text);
}

}  // namespace praxino
