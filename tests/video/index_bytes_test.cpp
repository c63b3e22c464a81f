#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "praxino/base/random.h"
#include "praxino/video/index.h"

namespace praxino {
namespace {

FrameIndex full_index(bool with_packet_times) {
  FrameIndex index;
  index.file_size = 123'456'789'012;
  index.file_mtime_ns = 1'700'000'000'123'456'789;
  index.file_hash = {0x0123456789abcdef, 0xfedcba9876543210};
  index.stream = 1;
  index.container = "mov,mp4,m4a,3gp,3g2,mj2";
  index.codec = "h264";
  index.time_base = Rational(1, 90000);
  index.width = 640;
  index.height = 480;
  index.rotation = 1;
  index.pixel_format_name = "yuv420p";
  index.color_range = 1;
  index.color_space = 6;
  index.reorder_depth = 2;
  index.interlaced = true;
  index.extradata = {1, 100, 0, 255};
  Random random(3);
  int64_t pts = -4000;
  for (int64_t i = 0; i < 1000; ++i) {
    if (i % 30 == 0) index.keys.push_back({pts, pts - 3003, 50'000 * i});
    index.frames.push_back(
        {pts, static_cast<int32_t>(index.keys.size()) - 1 - (i % 30 == 1 && i > 30)});
    if (with_packet_times) index.packet_dts.push_back(pts - random.integer(6000));
    pts += 3003 + (i % 7 == 0 ? random.integer(100) : 0);
  }
  index.end_pts = pts;
  return index;
}

void expect_equal(const FrameIndex& a, const FrameIndex& b) {
  EXPECT_EQ(serialize_index(a), serialize_index(b));
  EXPECT_EQ(a.file_hash, b.file_hash);
  EXPECT_EQ(a.codec, b.codec);
  EXPECT_EQ(a.time_base, b.time_base);
  EXPECT_EQ(a.extradata, b.extradata);
  EXPECT_EQ(a.packet_dts, b.packet_dts);
  ASSERT_EQ(a.frames.size(), b.frames.size());
  for (size_t i = 0; i < a.frames.size(); ++i) {
    ASSERT_EQ(a.frames[i].pts, b.frames[i].pts);
    ASSERT_EQ(a.frames[i].key, b.frames[i].key);
  }
  ASSERT_EQ(a.keys.size(), b.keys.size());
  for (size_t i = 0; i < a.keys.size(); ++i) {
    ASSERT_EQ(a.keys[i].pts, b.keys[i].pts);
    ASSERT_EQ(a.keys[i].dts, b.keys[i].dts);
    ASSERT_EQ(a.keys[i].byte, b.keys[i].byte);
  }
}

// The same bytes with a checksum that fits, so that the checks behind it are reached.
std::string with_checksum(std::string bytes) {
  const uint64_t checksum = xxh3_64(std::string_view(bytes).substr(0, bytes.size() - 8));
  std::memcpy(bytes.data() + bytes.size() - 8, &checksum, 8);
  return bytes;
}

TEST(IndexBytes, ComeBackAsTheyWere) {
  for (const bool with_packet_times : {false, true}) {
    const FrameIndex index = full_index(with_packet_times);
    const std::string bytes = serialize_index(index);
    expect_equal(parse_index(bytes, "x"), index);
    EXPECT_LE(bytes.size(), 16 * index.frames.size());
  }
}

TEST(IndexBytes, EveryChangedByteIsNoticed) {
  const std::string bytes = serialize_index(full_index(false));
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x10);
    ASSERT_THROW(parse_index(changed, "x"), Error) << i;
  }
}

TEST(IndexBytes, EveryTruncationIsNoticed) {
  const std::string bytes = serialize_index(full_index(false));
  for (size_t size = 0; size < bytes.size(); ++size)
    ASSERT_THROW(parse_index(bytes.substr(0, size), "x"), Error) << size;
  EXPECT_THROW(parse_index(bytes + "x", "x"), Error);
}

TEST(IndexBytes, HostileBytesWithAGoodChecksumNeverCrash) {
  const std::string bytes = serialize_index(full_index(true));
  Random random(11);
  int64_t refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string changed = bytes;
    for (int64_t flips = 1 + random.integer(3); flips > 0; --flips) {
      changed[24 + static_cast<size_t>(random.integer(static_cast<int64_t>(bytes.size()) - 32))] =
          static_cast<char>(random.bits());
    }
    try {
      const FrameIndex index = parse_index(with_checksum(changed), "x");
      for (const FrameEntry& frame : index.frames) ASSERT_LT(frame.key, std::ssize(index.keys));
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(IndexBytes, SaysWhatIsWrong) {
  std::string bytes = serialize_index(full_index(false));
  EXPECT_THAT([&] { parse_index("nonsense", "clip.index"); },
              ::testing::ThrowsMessage<Error>(::testing::AllOf(::testing::HasSubstr("clip.index"),
                                                               ::testing::HasSubstr("delete it"))));
  bytes[8] = 9;
  EXPECT_THAT([&] { parse_index(with_checksum(bytes), "clip.index"); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("version 9")));
}

}  // namespace
}  // namespace praxino
