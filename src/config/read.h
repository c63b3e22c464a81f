#pragma once
// The visitor that fills a section from a YAML tree. Strict: each value must have its field's type
// and range, and each key must have a field. Internal to config.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "config/node.h"
#include "praxino/config/fields.h"

namespace praxino {

/// One value to read: the node, the dotted path of its key and what its field allows.
struct ValueAt {
  const YamlSource& source;
  const Node& node;
  std::string path;
  const Field& field;
};

void read_value(const ValueAt& at, bool& value);
void read_value(const ValueAt& at, int64_t& value);
void read_value(const ValueAt& at, double& value);
void read_value(const ValueAt& at, std::string& value);

/// The items of a list; `length` is demanded unless it is 0. An empty value (`expect:`) is an empty
/// list.
const std::vector<Node>& list_items(const ValueAt& at, size_t length);
ValueAt item_at(const ValueAt& list, size_t index);

template <Section T>
void read_value(const ValueAt& at, T& section);

template <class T, size_t N>
void read_value(const ValueAt& at, std::array<T, N>& values) {
  list_items(at, N);
  for (size_t i = 0; i < N; ++i) read_value(item_at(at, i), values[i]);
}

template <class T>
void read_value(const ValueAt& at, std::vector<T>& values) {
  values.assign(list_items(at, 0).size(), T{});
  for (size_t i = 0; i < values.size(); ++i) read_value(item_at(at, i), values[i]);
}

class SectionReader {
 public:
  SectionReader(const YamlSource& source, const Node& map, std::string path);

  template <class T>
  void operator()(const Field& field, T& value) {
    known_.push_back(field.key);
    const Node* node = map_.find(field.key);
    if (node != nullptr) read_value(ValueAt{source_, *node, path_of(field.key), field}, value);
  }

  /// After the last field: refuses the first key that no field has.
  void finish() const;

 private:
  std::string path_of(std::string_view key) const;
  const YamlSource& source_;
  const Node& map_;
  std::string path_;  // of the section; empty: the document
  std::vector<std::string_view> known_;
};

/// Gives one word to each field.
class WordReader {
 public:
  explicit WordReader(const ValueAt& at) : at_(at) {}
  template <class T>
  void operator()(const Field& field, T& value) {
    read_value(ValueAt{at_.source, at_.node, at_.path, field}, value);
  }

 private:
  const ValueAt& at_;
};

template <Section T>
void read_value(const ValueAt& at, T& section) {
  if constexpr (OneWordSection<T>) {
    if (at.node.kind == Node::Kind::kScalar) {
      WordReader reader(at);
      return visit_fields(reader, section);
    }
  }
  SectionReader reader(at.source, at.node, at.path);
  visit_fields(reader, section);
  reader.finish();
}

/// The whole document.
template <Section T>
void read_document(const YamlSource& source, const Node& root, T& section) {
  read_value(ValueAt{source, root, "", Field{}}, section);
}

}  // namespace praxino
