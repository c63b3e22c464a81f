#pragma once
// A YAML document as a plain tree that remembers where each value stands, so that no other file
// needs to know yaml-cpp. Internal to config.

#include <string>
#include <string_view>
#include <vector>

namespace praxino {

/// Where a value was written: a line of the file, or an override of the command line.
struct Place {
  int line = 0;             // from 1; 0: unknown
  int override_index = -1;  // into YamlSource::overrides; -1: the file
};

struct Node {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Place place;
  std::string key;             // the own key where the parent is a map
  std::string text;            // of a scalar
  bool quoted = false;         // a scalar in quotes is text, whatever it looks like
  std::vector<Node> children;  // items of a list, values of a map (keys are unique)

  const Node* find(std::string_view name) const;  // nullptr when absent
};

/// What error messages say about a document.
struct YamlSource {
  std::string name;                    // of the file
  std::vector<std::string> overrides;  // as given
  std::vector<std::string> keys;       // every leaf key, for suggestions

  /// "train.yaml line 12", "override 'optim.lr=fast'".
  std::string at(Place place) const;
};

/// In quotes, shortened, without control characters: for messages.
std::string shown(std::string_view text);

/// "'fast'", "a list", ...: what a message says was found.
std::string describe(const Node& node);

/// The document in `text`: at most one, no larger than 1 MiB and 20000 values, no deeper than 64,
/// without aliases, anchors, tags and duplicate keys. `place`: the override that it comes from, if
/// any. Throws praxino::Error with ErrorKind::kUsage. (Defined in load.cpp.)
Node parse_yaml(const YamlSource& source, std::string_view text, Place place = {});

}  // namespace praxino
