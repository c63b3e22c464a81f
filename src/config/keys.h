#pragma once
// The visitors that list and explain keys. Internal to config.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/print.h"
#include "praxino/config/fields.h"

namespace praxino {

inline std::string type_name(const bool&) { return "true or false"; }
inline std::string type_name(const int64_t&) { return "whole number"; }
inline std::string type_name(const double&) { return "number"; }
inline std::string type_name(const std::string&) { return "text"; }
template <class T, size_t N>
std::string type_name(const std::array<T, N>&) {
  return "list of " + std::to_string(N) + ", each a " + type_name(T{});
}
template <class T>
std::string type_name(const std::vector<T>&) {
  if constexpr (Section<T>) {
    return "list of sections";
  } else {
    return "list of " + type_name(T{});
  }
}

/// "optim.lr: number, between 0 and 10; default 0.01", then the meaning, then when to change it.
std::string describe_key(const std::string& path, const Field& field, const std::string& type,
                         const std::string& default_text);
std::string describe_section(const std::string& path, const Field& field);

/// Collects the dotted key of every leaf; a list of sections is one leaf.
class KeyLister {
 public:
  explicit KeyLister(std::vector<std::string>& keys, std::string prefix = "")
      : keys_(keys), prefix_(std::move(prefix)) {}

  template <class T>
  void operator()(const Field& field, T& value) {
    const std::string path = prefix_ + std::string(field.key);
    if constexpr (Section<T>) {
      KeyLister inner(keys_, path + ".");
      visit_fields(inner, value);
    } else {
      keys_.push_back(path);
    }
  }

 private:
  std::vector<std::string>& keys_;
  std::string prefix_;
};

/// Explains every key; for a list of sections, the keys of one entry as well ("expect[].metric").
class KeyDescriber {
 public:
  explicit KeyDescriber(std::string& out, std::string prefix = "")
      : out_(out), prefix_(std::move(prefix)) {}

  template <class T>
  void operator()(const Field& field, T& value) {
    const std::string path = prefix_ + std::string(field.key);
    if constexpr (Section<T>) {
      out_ += describe_section(path, field);
      KeyDescriber inner(out_, path + ".");
      visit_fields(inner, value);
    } else {
      describe(path, field, value);
    }
  }

 private:
  template <class T>
  void describe(const std::string& path, const Field& field, const T& value) {
    out_ += describe_key(path, field, type_name(value),
                         is_unbounded(value) ? "none" : yaml_text(value));
  }
  template <Section T>
  void describe(const std::string& path, const Field& field, const std::vector<T>& value) {
    out_ += describe_key(path, field, type_name(value), "[]");
    T entry;
    KeyDescriber inner(out_, path + "[].");
    visit_fields(inner, entry);
  }

  std::string& out_;
  std::string prefix_;
};

template <Section T>
std::vector<std::string> list_keys(T section = {}) {
  std::vector<std::string> keys;
  KeyLister lister(keys);
  visit_fields(lister, section);
  return keys;
}

template <Section T>
std::string describe_document(T section = {}) {
  std::string out;
  KeyDescriber describer(out);
  visit_fields(describer, section);
  return out;
}

}  // namespace praxino
