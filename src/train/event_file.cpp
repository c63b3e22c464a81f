#include "praxino/train/event_file.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cstring>
#include <stdexcept>

#include "praxino/base/hash.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr size_t kLargestBuffer = size_t{1} << 16;

static_assert(std::endian::native == std::endian::little, "event files are little-endian");

// Protobuf's wire format, as far as `Event` needs it. A field starts with number * 8 + wire type.

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

template <class T>
void put_fixed(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_integer(std::string& out, uint32_t field, int64_t value) {
  put_varint(out, field << 3 | 0);
  put_varint(out, static_cast<uint64_t>(value));
}

void put_double(std::string& out, uint32_t field, double value) {
  put_varint(out, field << 3 | 1);
  put_fixed(out, value);
}

void put_bytes(std::string& out, uint32_t field, std::string_view bytes) {
  put_varint(out, field << 3 | 2);
  put_varint(out, bytes.size());
  out += bytes;
}

void put_float(std::string& out, uint32_t field, float value) {
  put_varint(out, field << 3 | 5);
  put_fixed(out, value);
}

/// A checksum of bytes that hold checksums is weak, so TensorBoard's are masked.
uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8U; }

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string scalar_value(std::string_view tag, double value) {
  std::string bytes;  // Summary.Value{1: tag, 2: simple_value}
  put_bytes(bytes, 1, tag);
  put_float(bytes, 2, static_cast<float>(value));
  return bytes;
}

/// Width, height and channels from a PNG's first chunk.
std::array<int64_t, 3> png_shape(std::string_view png) {
  constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  constexpr size_t kColorType = 25;
  if (!png.starts_with(kSignature) || png.size() <= kColorType) {
    throw std::invalid_argument("EventFile::image: the bytes are not a PNG file");
  }
  const auto byte = [&](size_t at) { return static_cast<int64_t>(static_cast<uint8_t>(png[at])); };
  const auto big_endian = [&](size_t at) {
    return byte(at) << 24 | byte(at + 1) << 16 | byte(at + 2) << 8 | byte(at + 3);
  };
  constexpr std::array<int64_t, 7> kChannels = {1, 3, 3, 3, 2, 3, 4};  // by colour type
  const auto type = static_cast<size_t>(byte(kColorType));
  return {big_endian(16), big_endian(20), type < kChannels.size() ? kChannels[type] : 3};
}

/// Later than every file that is there: TensorBoard reads them in the order of their names.
fs::path new_name(const fs::path& run_directory) {
  auto seconds = static_cast<int64_t>(seconds_now());
  for (const fs::directory_entry& entry : fs::directory_iterator(run_directory)) {
    const std::string name = entry.path().filename().string();
    int64_t other = 0;
    if (!name.starts_with(kPrefix)) continue;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kPrefix.size(), end, other);
    if (parsed.ec == std::errc() && other >= seconds) seconds = other + 1;
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {'h', 'o', 's', 't'};
  return run_directory / fmt::format("{}{:010d}.{}.{}", kPrefix, seconds, host.data(), ::getpid());
}

}  // namespace

EventFile::EventFile(const fs::path& run_directory, std::optional<int64_t> resumed)
    : file_(new_name(run_directory)) {
  std::string event;  // Event{1: wall_time, 3: file_version}
  put_double(event, 1, seconds_now());
  put_bytes(event, 3, "brain.Event:2");
  add_record(event);
  if (resumed) {
    std::string log;  // SessionLog{1: status}; START makes readers forget this step and later ones
    put_integer(log, 1, 1);
    std::string restart;  // Event{1: wall_time, 2: step, 7: session_log}
    put_double(restart, 1, seconds_now());
    put_integer(restart, 2, *resumed + 1);
    put_bytes(restart, 7, log);
    add_record(restart);
  }
  flush();
}

EventFile::~EventFile() { flush(); }

void EventFile::scalar(std::string_view tag, double value, int64_t step) {
  scalars({{std::string(tag), value}}, step);
}

void EventFile::scalars(const std::vector<std::pair<std::string, double>>& values, int64_t step) {
  std::string summary;  // Summary{1: repeated Value}
  for (const auto& [tag, value] : values) put_bytes(summary, 1, scalar_value(tag, value));
  add_summary(summary, step);
}

void EventFile::image(std::string_view tag, std::string_view png, int64_t step) {
  const auto [width, height, channels] = png_shape(png);
  std::string image;  // Summary.Image{1: height, 2: width, 3: colorspace, 4: encoded_image_string}
  put_integer(image, 1, height);
  put_integer(image, 2, width);
  put_integer(image, 3, channels);
  put_bytes(image, 4, png);
  std::string value;  // Summary.Value{1: tag, 4: image}
  put_bytes(value, 1, tag);
  put_bytes(value, 4, image);
  std::string summary;
  put_bytes(summary, 1, value);
  add_summary(summary, step);
}

void EventFile::add_summary(std::string_view summary, int64_t step) {
  std::string event;  // Event{1: wall_time, 2: step, 5: summary}
  put_double(event, 1, seconds_now());
  put_integer(event, 2, step);
  put_bytes(event, 5, summary);
  add_record(event);
}

void EventFile::add_record(std::string_view payload) {
  std::string length;
  put_fixed(length, static_cast<uint64_t>(payload.size()));
  buffer_ += length;
  put_fixed(buffer_, masked_crc(length));
  buffer_ += payload;
  put_fixed(buffer_, masked_crc(payload));
  if (buffer_.size() > kLargestBuffer) flush();
}

void EventFile::flush() {
  if (!buffer_.empty()) file_.append(buffer_);
  buffer_.clear();
}

}  // namespace praxino
