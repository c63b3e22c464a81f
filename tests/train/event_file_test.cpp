#include "praxino/train/event_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <map>
#include <stdexcept>

#include "praxino/base/hash.h"
#include "support/temporary_folder.h"

namespace praxino {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;
using testing::TemporaryFolder;

template <class T>
T number_at(std::string_view bytes, size_t offset = 0) {
  T value{};
  std::memcpy(&value, bytes.substr(offset, sizeof value).data(), sizeof value);
  return value;
}

/// The payloads of all whole records; throws when a checksum is wrong.
std::vector<std::string> records(const fs::path& path) {
  const std::string bytes = read_file(path);
  const auto check = [](std::string_view data, uint32_t masked) {
    const uint32_t unmasked = std::rotl(masked - 0xa282ead8U, 15);
    if (crc32c(data) != unmasked) throw std::runtime_error("wrong checksum");
  };
  std::vector<std::string> payloads;
  for (std::string_view rest = bytes; !rest.empty();) {
    const auto length = number_at<uint64_t>(rest);
    check(rest.substr(0, 8), number_at<uint32_t>(rest, 8));
    payloads.emplace_back(rest.substr(12, length));
    check(payloads.back(), number_at<uint32_t>(rest, 12 + length));
    rest.remove_prefix(16 + length);
  }
  return payloads;
}

/// A protobuf message: field number -> values, in order; numbers as their bytes.
using Message = std::multimap<uint32_t, std::string>;

uint64_t take_varint(std::string_view& rest) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    const auto byte = static_cast<uint8_t>(rest.at(0));
    rest.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
}

Message parse(std::string_view rest) {
  Message message;
  while (!rest.empty()) {
    const uint64_t key = take_varint(rest);
    const uint64_t type = key & 7;
    std::string value;
    if (type == 0) {
      const uint64_t number = take_varint(rest);
      value.assign(reinterpret_cast<const char*>(&number), sizeof number);
    } else {
      const size_t length = type == 1 ? 8 : type == 5 ? 4 : take_varint(rest);
      value = rest.substr(0, length);
      rest.remove_prefix(length);
    }
    message.emplace(static_cast<uint32_t>(key >> 3), value);
  }
  return message;
}

std::string field(const Message& message, uint32_t number) {
  const auto found = message.find(number);
  return found == message.end() ? "(absent)" : found->second;
}

/// (tag, value) of every scalar of an event.
std::vector<std::pair<std::string, float>> scalars(const std::string& event) {
  std::vector<std::pair<std::string, float>> values;
  const Message summary = parse(field(parse(event), 5));
  for (const auto& [number, bytes] : summary) {
    const Message value = parse(bytes);
    values.emplace_back(field(value, 1), number_at<float>(field(value, 2)));
  }
  return values;
}

int64_t step(const std::string& event) { return number_at<int64_t>(field(parse(event), 2)); }

constexpr char kRgb = 2;

/// The signature and first chunk of a PNG of 5 by 3 pixels.
std::string small_png(char color_type) {
  std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x05\0\0\0\x03\x08", 25);
  png.push_back(color_type);
  return png.append("\0\0\0rest");
}

TEST(EventFile, OpensWithItsVersionAndTime) {
  const TemporaryFolder run;
  const EventFile events(run.path());
  const auto all = records(events.path());
  ASSERT_THAT(all, SizeIs(1));
  const Message event = parse(all[0]);
  EXPECT_EQ(field(event, 3), "brain.Event:2");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  EXPECT_NEAR(number_at<double>(field(event, 1)), std::chrono::duration<double>(now).count(), 3600);
}

TEST(EventFile, HasTheBytesThatTensorBoardReads) {
  const TemporaryFolder run;
  EventFile events(run.path());
  events.scalar("train/loss", 0.25, 300);
  events.flush();
  const std::string event = records(events.path()).at(1);
  EXPECT_EQ(event[0], '\x09');  // wall_time: field 1, fixed 64 bits
  const std::string want(
      "\x10\xac\x02"
      "\x2a\x13"
      "\x0a\x11"
      "\x0a\x0atrain/loss"
      "\x15\0\0\x80\x3e",
      24);
  EXPECT_EQ(event.substr(9), want);
}

TEST(EventFile, KeepsScalarsWithTheirSteps) {
  const TemporaryFolder run;
  EventFile events(run.path());
  events.scalar("a", 1.5, 1);
  events.scalars({{"b", -2}, {"c", 1e30}}, 1'000'000'000'000);
  events.flush();
  const auto all = records(events.path());
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_THAT(scalars(all[1]), ElementsAre(Pair("a", 1.5F)));
  EXPECT_EQ(step(all[1]), 1);
  EXPECT_THAT(scalars(all[2]), ElementsAre(Pair("b", -2.0F), Pair("c", 1e30F)));
  EXPECT_EQ(step(all[2]), 1'000'000'000'000);
}

TEST(EventFile, KeepsImagesWithTheirSize) {
  const TemporaryFolder run;
  EventFile events(run.path());
  for (const char type : {'\0', '\2', '\6'}) events.image("samples", small_png(type), 7);
  events.flush();
  const auto all = records(events.path());
  ASSERT_THAT(all, SizeIs(4));
  const std::vector<std::pair<char, int64_t>> channels = {{'\0', 1}, {'\2', 3}, {'\6', 4}};
  for (size_t i = 0; i < channels.size(); ++i) {
    const Message value = parse(field(parse(field(parse(all[i + 1]), 5)), 1));
    EXPECT_EQ(field(value, 1), "samples");
    const Message image = parse(field(value, 4));
    EXPECT_EQ(number_at<int64_t>(field(image, 1)), 3);  // height
    EXPECT_EQ(number_at<int64_t>(field(image, 2)), 5);  // width
    EXPECT_EQ(number_at<int64_t>(field(image, 3)), channels[i].second);
    EXPECT_EQ(field(image, 4), small_png(channels[i].first));
  }
}

TEST(EventFile, RefusesAnImageThatIsNoPng) {
  const TemporaryFolder run;
  EventFile events(run.path());
  EXPECT_THROW(events.image("x", "GIF89a", 1), std::invalid_argument);
  EXPECT_THROW(events.image("x", small_png(kRgb).substr(0, 20), 1), std::invalid_argument);
}

TEST(EventFile, WritesWhenItIsFlushedOrFullOrDestroyed) {
  const TemporaryFolder run;
  fs::path path;
  {
    EventFile events(run.path());
    path = events.path();
    events.scalar("a", 1, 1);
    EXPECT_THAT(records(path), SizeIs(1));
    events.flush();
    EXPECT_THAT(records(path), SizeIs(2));
    events.image("large", small_png(kRgb) + std::string(100'000, 'x'), 1);
    EXPECT_THAT(records(path), SizeIs(3));
    events.scalar("b", 1, 1);
  }
  EXPECT_THAT(records(path), SizeIs(4));
}

TEST(EventFile, OfAResumedRunIsANewAndLaterOne) {
  const TemporaryFolder run;
  const EventFile first(run.path());
  const std::string before = read_file(first.path());
  const EventFile second(run.path());
  const EventFile third(run.path());
  EXPECT_LT(first.path().filename(), second.path().filename());
  EXPECT_LT(second.path().filename(), third.path().filename());
  EXPECT_EQ(read_file(first.path()), before);
  EXPECT_THAT(records(third.path()), SizeIs(1));
}

TEST(EventFile, TakesLaterStepsBackWhenARunResumes) {
  const TemporaryFolder run;
  const EventFile events(run.path(), 20);
  const auto all = records(events.path());
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(step(all[1]), 21);
  EXPECT_EQ(number_at<int64_t>(field(parse(field(parse(all[1]), 7)), 1)), 1);  // START
}

TEST(EventFile, IsLaterThanOneFromAClockThatWasAhead) {
  const TemporaryFolder run;
  write_file_atomic(run / "events.out.tfevents.4000000000.host.1", "");
  EXPECT_TRUE(EventFile(run.path())
                  .path()
                  .filename()
                  .string()
                  .starts_with("events.out.tfevents.4000000001."));
}

}  // namespace
}  // namespace praxino
