#pragma once
// One declaration a field. A configuration section is a plain struct with default values and one
// function
//
//   template <class Visitor> void visit_fields(Visitor& v, OptimConfig& c) {
//     v(Field{.key = "lr", .about = "peak learning rate", .when = "lower it when ...", .low = 0},
//     c.lr);
//   }
//
// Parsing, printing, `praxino config keys`, ranges and the nearest-key suggestion are visitors over
// it. A member whose type has visit_fields is a nested section; a std::vector of such is a list of
// sections.

#include <concepts>
#include <initializer_list>
#include <limits>
#include <string_view>

namespace praxino {

struct Field {
  std::string_view key;
  std::string_view about;      // meaning, with the unit
  std::string_view when = {};  // when to change it; empty: hardly ever
  double low =
      -std::numeric_limits<double>::infinity();  // inclusive, for numbers (each number of a list)
  double high = std::numeric_limits<double>::infinity();  // inclusive
  std::initializer_list<std::string_view> choices = {};   // for strings; empty: any
};

struct ProbeVisitor {
  template <class T>
  void operator()(const Field&, T&) {}
};

/// A struct with visit_fields: a section.
template <class T>
concept Section = requires(ProbeVisitor& v, T& section) {
  visit_fields(v, section);
};

/// A section that may be given as one word, `kernels: off`, which then is the value of every key:
/// it says `static constexpr bool kTakesOneWord = true;`.
template <class T>
concept OneWordSection = Section<T> && T::kTakesOneWord;

}  // namespace praxino
