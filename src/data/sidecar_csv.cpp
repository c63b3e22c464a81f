#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "data/sidecar.h"
#include "praxino/base/error.h"
#include "praxino/base/file.h"

namespace praxino {
namespace {

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
  }
  return text;
}

// Hands out the lines of a text, without their ends.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // byte order mark
  }
  std::optional<std::string_view> next() {
    if (rest_.empty()) return std::nullopt;
    ++number_;
    const size_t end = rest_.find('\n');
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    return line;
  }
  int64_t number() const { return number_; }  // of the line handed out last, from 1
  bool only_blank_left() const {
    return rest_.find_first_not_of(" \t\r\n") == std::string_view::npos;
  }

 private:
  std::string_view rest_;
  int64_t number_ = 0;
};

// Calls use(cell, column) for every comma-separated cell.
template <class Use>
void for_each_cell(std::string_view line, Use use) {
  size_t column = 0;
  for (size_t begin = 0; begin <= line.size(); ++column) {
    const size_t end = std::min(line.find(',', begin), line.size());
    use(trim(line.substr(begin, end - begin)), column);
    begin = end + 1;
  }
}

class CsvReader {
 public:
  CsvReader(const std::filesystem::path& file, const std::vector<ActionField>& fields)
      : file_(file.string()), fields_(fields) {}

  ActionTable read(std::string_view text) {
    Lines lines(text);
    const auto header = lines.next();
    if (!header)
      fail("{}: the file is empty; it needs a header row: {}", file_, field_names(fields_));
    read_header(*header);
    ActionTable table;
    table.fields = static_cast<int64_t>(fields_.size());
    while (!lines.only_blank_left()) {
      const auto line = lines.next();
      const size_t begin = table.values.size();
      table.values.resize(begin + fields_.size());
      read_row(*line, lines.number(), {table.values.data() + begin, fields_.size()});
      ++table.rows;
    }
    return table;
  }

 private:
  void read_header(std::string_view line) {
    std::vector<bool> seen(fields_.size(), false);
    for_each_cell(line, [&](std::string_view name, size_t) {
      size_t f = 0;
      while (f < fields_.size() && fields_[f].name != name) ++f;
      if (f == fields_.size()) {
        fail("{} line 1: unknown column '{}'; dataset.yaml declares {}", file_, name,
             field_names(fields_));
      }
      if (seen[f]) fail("{} line 1: column '{}' appears twice", file_, name);
      seen[f] = true;
      field_of_column_.push_back(f);
    });
    for (size_t f = 0; f < fields_.size(); ++f) {
      if (!seen[f]) fail("{} line 1: column '{}' is missing", file_, fields_[f].name);
    }
  }

  void read_row(std::string_view line, int64_t number, std::span<float> row) const {
    const auto cells = static_cast<size_t>(std::count(line.begin(), line.end(), ',')) + 1;
    if (cells != field_of_column_.size()) {
      fail("{} line {}: {} values but {} columns", file_, number, cells, field_of_column_.size());
    }
    for_each_cell(line, [&](std::string_view cell, size_t column) {
      const size_t f = field_of_column_[column];
      row[f] = read_value(cell, fields_[f], number);
    });
  }

  float read_value(std::string_view cell, const ActionField& field, int64_t number) const {
    double value = 0;
    const char* begin = cell.data() + (cell.starts_with('+') ? 1 : 0);
    const auto [end, error] = std::from_chars(begin, cell.data() + cell.size(), value);
    const bool whole = error == std::errc() && end == cell.data() + cell.size();
    const std::string problem = whole ? value_problem(field, value) : "is not a number";
    if (!problem.empty()) {
      fail("{} line {}, column '{}': '{}' {}", file_, number, field.name, cell, problem);
    }
    return static_cast<float>(value);
  }

  std::string file_;
  const std::vector<ActionField>& fields_;
  std::vector<size_t> field_of_column_;
};

}  // namespace

std::string value_problem(const ActionField& field, double value) {
  if (!std::isfinite(static_cast<float>(value))) return "is not finite";
  if (field.kind == "button" && value != 0 && value != 1) return "must be 0 or 1 (a button)";
  if (field.kind == "discrete") {
    const bool whole = value == std::floor(value);
    if (!whole || value < 0 || value >= static_cast<double>(field.size)) {
      return fmt::format("must be a whole number from 0 to {}", field.size - 1);
    }
  }
  return {};
}

std::string field_names(const std::vector<ActionField>& fields) {
  std::string names;
  for (const ActionField& field : fields) {
    if (!names.empty()) names += ", ";
    names += field.name;
  }
  return names.empty() ? "no columns" : names;
}

ActionTable read_actions_csv(const std::filesystem::path& file,
                             const std::vector<ActionField>& fields) {
  const std::string text = read_file(file);
  return CsvReader(file, fields).read(text);
}

}  // namespace praxino
