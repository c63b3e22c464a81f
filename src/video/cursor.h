#pragma once
// A place in an indexed file from which decoding goes on: lands exactly on the key frame that it is
// told, knows every decoded picture by its number, and remembers where it is between calls.

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "praxino/video/reader.h"
#include "video/decoder.h"

namespace praxino {

/// Not thread-safe. Throws VideoError naming the file. Borrows the index, which must outlive it.
class Cursor {
 public:
  Cursor(const std::filesystem::path& file, const FrameIndex& index, const VideoLimits& limits);

  void set_deadline(double seconds) { source_.set_deadline(seconds); }
  /// The numbers (ascending, distinct) that are wanted next: pictures before the last of them that
  /// nobody wants and no other picture needs are not decoded. Empty: everything is decoded.
  /// Borrowed until the next call. `then_stop`: nothing will be read on after the last of them, so
  /// the decoder need not be fed with more packets to make it give out what it holds back.
  void want(std::span<const int64_t> numbers, bool then_stop = false);

  /// Decoding starts at this key frame.
  void start_at(int32_t key);
  /// The next start_at or next begins from nothing known.
  void forget() { run_key_ = -1; }
  /// The picture lies ahead, and going on to it costs less than a seek.
  bool can_continue_to(int64_t number) const;

  /// Decodes on to the next picture and returns its number; -1 at the end of the file.
  int64_t next();
  const AVFrame& frame() const { return *frame_; }
  const Source& source() const { return source_; }
  ReadStats& stats() { return stats_; }

 private:
  int64_t number_of(const PacketFacts& facts) const;
  int64_t first_number(int32_t key) const;
  bool find_key(const KeyEntry& key, bool patient);
  bool is_key(const PacketFacts& facts, const KeyEntry& key) const;
  bool seek_to(const KeyEntry& key);
  bool is_wanted(int64_t number) const;
  bool can_skip(int64_t number) const;
  bool wanted_are_fed() const;
  void feed();

  const FrameIndex& index_;
  VideoLimits limits_;
  Source source_;
  Decoder decoder_;
  ffmpeg::UniquePacket packet_;
  ffmpeg::UniqueFrame frame_;
  std::vector<std::pair<int64_t, int64_t>>
      by_dts_;  // (packet's dts, number), sorted; only if index.packet_dts
  std::span<const int64_t> wanted_;
  bool then_stop_ = false;
  std::vector<int64_t>
      fed_ahead_;  // wanted pictures that the decoder has been fed and has not given out
  PacketFacts facts_;
  bool packet_waits_ = false;  // packet_ was read but not decoded yet
  bool untouched_ = true;      // no packet has been read since the file was opened
  bool ended_ = false;         // the decoder was told that nothing follows
  bool stopped_ = false;       // ... although the file goes on
  int32_t run_key_ = -1;       // the key frame where the current run of decoding started
  int64_t position_ = -1;      // the last picture that came out
  int64_t fed_ = 0;            // packets decoded in this run
  ReadStats stats_;
};

}  // namespace praxino
