// The frame index in bytes. Numbers are little-endian; "v" is an unsigned LEB128 number of at most
// 10 bytes, "z" a signed one (zigzag: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...); a string is
// v(length) and its bytes.
//
//   8 bytes   "PXINDEX" and a zero byte
//   u32       version, 1
//   u32       0
//   u64       bytes of the body
//   body:     v file_size, z file_mtime_ns, u64 hash low, u64 hash high
//             z stream, string container, string codec, z time base numerator, z denominator
//             z width, z height, z rotation, string pixel format, z range, z space, z reorder
//             depth, v interlaced string extradata, z end_pts v keys:    per key     z pts -
//             previous pts, z pts - dts, z byte - previous byte v frames:  per frame   z pts - (2 *
//             previous pts - the one before), then
//                                    runs of one key: z key - previous key, v length
//             v 0 or frames:         z packet_dts - pts, per frame
//   u64       XXH3-64 of everything before it
//
// A frame of constant rate costs one byte, any other rarely more than four.

#include <bit>
#include <cstring>
#include <limits>

#include "praxino/video/index.h"
#include "video/ffmpeg.h"

namespace praxino {
namespace {

constexpr std::string_view kMagic{"PXINDEX\0", 8};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 24;
constexpr uint64_t kLongestText = 1 << 20;

class ByteWriter {
 public:
  template <class T>
  void fixed(T value) {
    static_assert(std::endian::native == std::endian::little);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void v(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes_.push_back(static_cast<char>(value | 128));
    bytes_.push_back(static_cast<char>(value));
  }
  void z(int64_t value) {
    v((static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63));
  }
  void text(std::string_view value) {
    v(value.size());
    bytes_.append(value);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class ByteReader {
 public:
  ByteReader(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  [[noreturn]] void refuse(std::string_view why) const {
    fail("{}: the frame index is damaged ({}); delete it to index the video again", name_, why);
  }
  template <class T>
  T fixed() {
    T value;
    if (bytes_.size() < sizeof value) refuse("it ends too early");
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }
  uint64_t v() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = fixed<uint8_t>();
      if (shift == 63 && byte > 1) break;
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) {
        if (byte == 0 && shift > 0) break;  // one spelling for each number
        return value;
      }
    }
    refuse("a number is malformed");
  }
  int64_t z() {
    const uint64_t value = v();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }
  int64_t z(int64_t low, int64_t high, std::string_view what) {
    const int64_t value = z();
    if (value < low || value > high) refuse(fmt::format("{} is {}", what, value));
    return value;
  }
  /// z() added to a base, without overflow.
  int64_t moved(int64_t base) {
    int64_t sum = 0;
    if (__builtin_add_overflow(base, z(), &sum)) refuse("a number overflows");
    return sum;
  }
  std::string_view text(uint64_t limit) {
    const uint64_t size = v();
    if (size > limit || size > bytes_.size()) refuse("a text is too long");
    const std::string_view value = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return value;
  }
  /// A count of things that take at least one byte each.
  size_t count(std::string_view what) {
    const uint64_t value = v();
    if (value > bytes_.size()) refuse(fmt::format("it claims {} {}", value, what));
    return static_cast<size_t>(value);
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  std::string_view name_;
};

// What a regular sequence would go on with.
int64_t predicted(int64_t previous, int64_t before) {
  return static_cast<int64_t>(2 * static_cast<uint64_t>(previous) - static_cast<uint64_t>(before));
}
int64_t difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}

void write_stream(ByteWriter& out, const FrameIndex& index) {
  out.v(index.file_size);
  out.z(index.file_mtime_ns);
  out.fixed(index.file_hash.low);
  out.fixed(index.file_hash.high);
  out.z(index.stream);
  out.text(index.container);
  out.text(index.codec);
  out.z(index.time_base.numerator);
  out.z(index.time_base.denominator);
  for (const int32_t value : {index.width, index.height, index.rotation}) out.z(value);
  out.text(index.pixel_format_name);
  for (const int32_t value : {index.color_range, index.color_space, index.reorder_depth})
    out.z(value);
  out.v(index.interlaced);
  out.text({reinterpret_cast<const char*>(index.extradata.data()), index.extradata.size()});
  out.z(index.end_pts);
}

void write_frames(ByteWriter& out, const FrameIndex& index) {
  out.v(index.keys.size());
  KeyEntry last{0, 0, 0};
  for (const KeyEntry& key : index.keys) {
    out.z(difference(key.pts, last.pts));
    out.z(difference(key.pts, key.dts));
    out.z(difference(key.byte, last.byte));
    last = key;
  }
  out.v(index.frames.size());
  int64_t previous = 0, before = 0;
  for (const FrameEntry& frame : index.frames) {
    out.z(difference(frame.pts, predicted(previous, before)));
    before = previous;
    previous = frame.pts;
  }
  int32_t key = 0;
  for (size_t i = 0; i < index.frames.size();) {
    size_t end = i;
    while (end < index.frames.size() && index.frames[end].key == index.frames[i].key) ++end;
    out.z(index.frames[i].key - key);
    out.v(end - i);
    key = index.frames[i].key;
    i = end;
  }
  out.v(index.packet_dts.size());
  for (size_t i = 0; i < index.packet_dts.size(); ++i)
    out.z(difference(index.packet_dts[i], index.frames[i].pts));
}

void read_stream(ByteReader& in, FrameIndex& index) {
  constexpr int32_t kLargest = std::numeric_limits<int32_t>::max();
  const auto small = [&](int64_t low, int64_t high, std::string_view what) {
    return static_cast<int32_t>(in.z(low, high, what));
  };
  index.file_size = in.v();
  index.file_mtime_ns = in.z();
  index.file_hash.low = in.fixed<uint64_t>();
  index.file_hash.high = in.fixed<uint64_t>();
  index.stream = small(0, kLargest, "the stream");
  index.container = in.text(256);
  index.codec = in.text(256);
  const int64_t numerator = in.z(1, kLargest, "the time base's numerator");
  const int64_t denominator = in.z(1, kLargest, "the time base's denominator");
  index.time_base = Rational(numerator, denominator);
  index.width = small(1, 1 << 16, "the width");
  index.height = small(1, 1 << 16, "the height");
  index.rotation = small(0, 3, "the rotation");
  index.pixel_format_name = in.text(64);
  index.pixel_format = av_get_pix_fmt(index.pixel_format_name.c_str());
  if (index.pixel_format == AV_PIX_FMT_NONE)
    in.refuse("this FFmpeg does not know its pixel format");
  index.color_range = small(0, 2, "the colour range");
  index.color_space = small(0, 255, "the colour matrix");
  index.reorder_depth = small(0, 64, "the reorder depth");
  const uint64_t interlaced = in.v();
  if (interlaced > 1) in.refuse("a flag is neither 0 nor 1");
  index.interlaced = interlaced == 1;
  const std::string_view extradata = in.text(kLongestText);
  index.extradata.assign(extradata.begin(), extradata.end());
  index.end_pts = in.z();
}

void read_frames(ByteReader& in, FrameIndex& index) {
  index.keys.resize(in.count("key frames"));
  KeyEntry last{0, 0, 0};
  for (KeyEntry& key : index.keys) {
    key.pts = in.moved(last.pts);
    key.dts = difference(key.pts, in.z());
    key.byte = in.moved(last.byte);
    last = key;
  }
  index.frames.resize(in.count("frames"));
  int64_t previous = 0, before = 0;
  for (size_t i = 0; i < index.frames.size(); ++i) {
    index.frames[i].pts = static_cast<int64_t>(static_cast<uint64_t>(predicted(previous, before)) +
                                               static_cast<uint64_t>(in.z()));
    if (i > 0 && index.frames[i].pts <= previous)
      in.refuse(fmt::format("frame {} is not after the one before", i));
    before = previous;
    previous = index.frames[i].pts;
  }
  int64_t key = 0;
  for (size_t i = 0; i < index.frames.size();) {
    key = in.moved(key);
    const uint64_t run = in.v();
    if (key < 0 || key >= static_cast<int64_t>(index.keys.size()))
      in.refuse(fmt::format("frame {} has no key frame", i));
    if (run == 0 || run > index.frames.size() - i) in.refuse("a run of frames is too long");
    for (const size_t end = i + run; i < end; ++i) index.frames[i].key = static_cast<int32_t>(key);
  }
  index.packet_dts.resize(in.count("packets"));
  if (!index.packet_dts.empty() && index.packet_dts.size() != index.frames.size())
    in.refuse("packets and frames differ");
  for (size_t i = 0; i < index.packet_dts.size(); ++i)
    index.packet_dts[i] = in.moved(index.frames[i].pts);
  if (index.frames.empty() || index.end_pts <= index.frames.back().pts)
    in.refuse("the last frame is shown for no time");
}

}  // namespace

std::string serialize_index(const FrameIndex& index) {
  ByteWriter body;
  write_stream(body, index);
  write_frames(body, index);
  const std::string content = body.take();
  ByteWriter out;
  for (const char c : kMagic) out.fixed(c);
  out.fixed(kVersion);
  out.fixed(uint32_t{0});
  out.fixed(static_cast<uint64_t>(content.size()));
  std::string bytes = out.take() + content;
  const uint64_t checksum = xxh3_64(bytes);
  bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  return bytes;
}

FrameIndex parse_index(std::string_view bytes, std::string_view name) {
  ByteReader header(bytes, name);
  if (bytes.size() < kHeaderBytes + sizeof(uint64_t) || bytes.substr(0, kMagic.size()) != kMagic)
    header.refuse("it has no index header");
  header.fixed<uint64_t>();
  const auto version = header.fixed<uint32_t>();
  if (version != kVersion) {
    fail(
        "{}: the frame index has version {}, this program reads {}; delete it to index the video "
        "again",
        name, version, kVersion);
  }
  if (header.fixed<uint32_t>() != 0) header.refuse("a reserved field is not 0");
  const std::string_view content =
      bytes.substr(kHeaderBytes, bytes.size() - kHeaderBytes - sizeof(uint64_t));
  if (header.fixed<uint64_t>() != content.size()) header.refuse("its size is wrong");
  uint64_t checksum = 0;
  std::memcpy(&checksum, content.data() + content.size(), sizeof checksum);
  if (checksum != xxh3_64(bytes.substr(0, bytes.size() - sizeof checksum)))
    header.refuse("its checksum is wrong");

  FrameIndex index;
  ByteReader in(content, name);
  read_stream(in, index);
  read_frames(in, index);
  if (!in.empty()) in.refuse("bytes follow its end");
  return index;
}

}  // namespace praxino
