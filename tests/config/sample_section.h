#pragma once
// A configuration of the tests' own, with a field of every type: what it checks holds for any
// section.

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "config/keys.h"
#include "config/overrides.h"
#include "config/print.h"
#include "config/read.h"
#include "praxino/base/error.h"
#include "praxino/config/fields.h"
#include "support/error_text.h"

namespace praxino::testing {

struct Bound {
  std::string metric;
  double below = std::numeric_limits<double>::infinity();
  bool operator==(const Bound&) const = default;
};

template <class Visitor>
void visit_fields(Visitor& v, Bound& c) {
  v(Field{.key = "metric", .about = "its name"}, c.metric);
  v(Field{.key = "below", .about = "upper bound"}, c.below);
}

struct Inner {
  double learning_rate = 1e-3;
  std::vector<std::string> files;
  std::array<double, 2> betas = {0.9, 0.99};
  bool operator==(const Inner&) const = default;
};

template <class Visitor>
void visit_fields(Visitor& v, Inner& c) {
  v(Field{.key = "lr",
          .about = "peak learning rate",
          .when = "when it diverges",
          .low = 0,
          .high = 10},
    c.learning_rate);
  v(Field{.key = "files", .about = "some files"}, c.files);
  v(Field{.key = "betas", .about = "decay rates", .low = 0, .high = 1}, c.betas);
}

struct Sample {
  bool fast = true;
  int64_t steps = 10;
  std::string name = "sample";
  std::string kind = "red";
  std::array<int64_t, 2> size = {64, 64};
  double scale = 0.5;
  Inner inner;
  std::vector<Bound> bounds;
  bool operator==(const Sample&) const = default;
};

template <class Visitor>
void visit_fields(Visitor& v, Sample& c) {
  v(Field{.key = "fast", .about = "hurry"}, c.fast);
  v(Field{.key = "steps", .about = "how many", .low = 1}, c.steps);
  v(Field{.key = "name", .about = "any text"}, c.name);
  v(Field{.key = "kind", .about = "a colour", .choices = {"red", "green"}}, c.kind);
  v(Field{.key = "size", .about = "height, width", .low = 4, .high = 4096}, c.size);
  v(Field{.key = "scale", .about = "any number", .high = 2}, c.scale);
  v(Field{.key = "inner", .about = "a section"}, c.inner);
  v(Field{.key = "bounds", .about = "a list of sections"}, c.bounds);
}

inline Sample read_sample(std::string_view text, std::vector<std::string> overrides = {}) {
  const YamlSource source{
      .name = "s.yaml", .overrides = std::move(overrides), .keys = list_keys<Sample>()};
  Node root = parse_yaml(source, text);
  apply_overrides(source, root);
  Sample sample;
  read_document(source, root, sample);
  return sample;
}

inline std::string sample_refusal(std::string_view text,
                                  const std::vector<std::string>& overrides = {}) {
  return error_text([&] { read_sample(text, overrides); });
}

}  // namespace praxino::testing
