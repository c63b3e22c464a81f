#pragma once
// The visitor that prints a section as YAML which reads back to equal values. Internal to config.

#include <array>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <vector>

#include "praxino/config/fields.h"

namespace praxino {

std::string yaml_text(bool value);
std::string yaml_text(int64_t value);
std::string yaml_text(double value);  // the shortest text that reads back exactly
std::string yaml_text(
    const std::string& value);  // in quotes where another YAML reader could take it for more

std::string yaml_list(const std::vector<std::string>& items);  // "[64, 64]"

template <class T>
std::string yaml_text(const std::vector<T>& values) {
  std::vector<std::string> items;
  for (const T& value : values) items.push_back(yaml_text(value));
  return yaml_list(items);
}
template <class T, size_t N>
std::string yaml_text(const std::array<T, N>& values) {
  return yaml_text(std::vector<T>(values.begin(), values.end()));
}

/// "No bound" is said by leaving the key out: YAML files hold finite numbers only.
template <class T>
bool is_unbounded(const T& value) {
  if constexpr (std::floating_point<T>) return !std::isfinite(value);
  return false;
}

/// Prints a section as "{key: value, ...}": entries of a list of sections.
class InlinePrinter {
 public:
  template <class T>
  void operator()(const Field& field, const T& value) {
    if (is_unbounded(value)) return;
    text_ += text_.empty() ? "{" : ", ";
    text_.append(field.key).append(": ").append(yaml_text(value));
  }
  std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

/// Prints a section as indented "key: value" lines.
class BlockPrinter {
 public:
  explicit BlockPrinter(std::string& out, int indent = 0) : out_(out), indent_(indent) {}

  template <class T>
  void operator()(const Field& field, T& value) {
    if (is_unbounded(value)) return;
    out_.append(static_cast<size_t>(indent_), ' ').append(field.key).append(":");
    if constexpr (Section<T>) {
      out_ += '\n';
      BlockPrinter inner(out_, indent_ + 2);
      visit_fields(inner, value);
    } else {
      print_value(value);
    }
  }

 private:
  template <class T>
  void print_value(const T& value) {
    out_.append(" ").append(yaml_text(value)).append("\n");
  }
  template <Section T>
  void print_value(std::vector<T>& sections) {
    if (sections.empty()) out_ += " []";
    out_ += '\n';
    for (T& section : sections) {
      InlinePrinter item;
      visit_fields(item, section);
      out_.append(static_cast<size_t>(indent_) + 2, ' ')
          .append("- ")
          .append(item.text())
          .append("\n");
    }
  }

  std::string& out_;
  int indent_;
};

template <Section T>
std::string print_document(T section) {  // a copy: visit_fields wants a mutable one
  std::string out;
  BlockPrinter printer(out);
  visit_fields(printer, section);
  return out;
}

}  // namespace praxino
