#include "video/cursor.h"

#include <algorithm>

#include "video/stopwatch.h"

namespace praxino {

Cursor::Cursor(const std::filesystem::path& file, const FrameIndex& index,
               const VideoLimits& limits)
    : index_(index),
      limits_(limits),
      source_(file, limits, index.container),
      decoder_(source_, limits, index.reorder_depth),
      packet_(av_packet_alloc()),
      frame_(av_frame_alloc()) {
  for (size_t i = 0; i < index.packet_dts.size(); ++i) by_dts_.emplace_back(index.packet_dts[i], i);
  std::ranges::sort(by_dts_);
  // mpegts times wrap every 26 hours, and FFmpeg unwraps them relative to the first packet that it
  // sees: let that be the one that the index saw.
  if (source_.container_is("mpegts")) untouched_ = !source_.read(*packet_, facts_);
}

int64_t Cursor::number_of(const PacketFacts& facts) const {
  if (facts.discard) return -1;
  if (!index_.packet_dts.empty()) {
    const auto found = std::ranges::lower_bound(by_dts_, std::pair{facts.dts, int64_t{-1}});
    return found != by_dts_.end() && found->first == facts.dts ? found->second : -1;
  }
  const auto found = std::ranges::lower_bound(index_.frames, facts.pts, {}, &FrameEntry::pts);
  return found != index_.frames.end() && found->pts == facts.pts ? found - index_.frames.begin()
                                                                 : -1;
}

int64_t Cursor::first_number(int32_t key) const {
  const int64_t pts = index_.keys[static_cast<size_t>(key)].pts;
  return std::ranges::lower_bound(index_.frames, pts, {}, &FrameEntry::pts) - index_.frames.begin();
}

bool Cursor::can_continue_to(int64_t number) const {
  if (run_key_ < 0 || number <= position_) return false;
  if (stopped_) return std::ranges::find(fed_ahead_, number) != fed_ahead_.end();
  const int32_t key = index_.frames[static_cast<size_t>(number)].key;
  if (key < run_key_) return false;
  // A seek throws away the pictures that the decoder holds back, so a key frame that is nearer than
  // that is walked to.
  return key == run_key_ || first_number(key) - position_ <= 2 + index_.reorder_depth;
}

bool Cursor::is_key(const PacketFacts& facts, const KeyEntry& key) const {
  if (!facts.key) return false;
  if (!index_.packet_dts.empty()) return facts.dts == key.dts;
  // Edit lists can show one time twice; mp4 knows exact byte positions.
  return facts.pts == key.pts &&
         (!source_.container_is("mp4") || key.byte < 0 || facts.byte == key.byte);
}

bool Cursor::find_key(const KeyEntry& key, bool patient) {
  while (source_.read(*packet_, facts_)) {
    untouched_ = false;
    if (is_key(facts_, key)) return true;
    if (!patient && facts_.key && facts_.decode_time() > key.dts) return false;  // landed late
  }
  return false;
}

bool Cursor::seek_to(const KeyEntry& key) {
  const bool by_dts = !index_.packet_dts.empty();
  if (source_.container_is("mpegts") && key.byte >= 0 && source_.seek_byte(key.byte) &&
      find_key(key, false))
    return true;
  if (source_.seek_time(by_dts ? key.dts : key.pts) && find_key(key, false)) return true;
  return key.dts != key.pts && source_.seek_time(key.dts) && find_key(key, false);
}

void Cursor::start_at(int32_t number) {
  const Stopwatch watch(stats_.demux_seconds);
  const KeyEntry& key = index_.keys[static_cast<size_t>(number)];
  decoder_.flush();
  run_key_ = -1;
  ended_ = stopped_ = false;
  fed_ahead_.clear();
  fed_ = 0;
  ++stats_.seeks;
  bool found = untouched_ && number == 0 && find_key(key, true);
  if (!found) found = seek_to(key);
  // Landed late: ask for an earlier place, and walk from there without decoding.
  for (int32_t back = 1; !found && back <= 8 && back <= number; back *= 2) {
    const KeyEntry& earlier = index_.keys[static_cast<size_t>(number - back)];
    found = source_.seek_time(index_.packet_dts.empty() ? earlier.pts : earlier.dts) &&
            find_key(key, false);
  }
  if (!found) {
    source_.reopen();
    found = find_key(key, true);
  }
  if (!found) {
    fail_video(VideoFault::kMismatch, source_.file(),
               fmt::format("the key frame at {} ticks is not there any more; index the file again",
                           key.pts));
  }
  packet_waits_ = true;
  run_key_ = number;
  position_ = first_number(number) - 1;
}

void Cursor::want(std::span<const int64_t> numbers, bool then_stop) {
  wanted_ = numbers;
  // A frame of two fields may come in two packets, so that having its packet is not having all of
  // it.
  then_stop_ = then_stop && !index_.interlaced;
  fed_ahead_.clear();
}

bool Cursor::is_wanted(int64_t number) const {
  return std::binary_search(wanted_.begin(), wanted_.end(), number);
}

bool Cursor::can_skip(int64_t number) const {
  return !index_.interlaced && number >= 0 && !wanted_.empty() && number < wanted_.back() &&
         !is_wanted(number);
}

bool Cursor::wanted_are_fed() const {
  const auto missing = wanted_.end() - std::ranges::upper_bound(wanted_, position_);
  return missing > 0 && std::ssize(fed_ahead_) == missing;
}

void Cursor::feed() {
  if (!packet_waits_) {
    const Stopwatch watch(stats_.demux_seconds);
    stopped_ = then_stop_ && wanted_are_fed();
    if (stopped_ || !source_.read(*packet_, facts_)) {
      decoder_.send_end();
      ended_ = true;
      return;
    }
  }
  packet_waits_ = false;
  const int64_t expected =
      std::max<int64_t>(position_, wanted_.empty() ? 0 : wanted_.back()) - first_number(run_key_);
  if (++fed_ > expected + index_.reorder_depth + limits_.max_packets_per_seek) {
    fail_video(VideoFault::kLimit, source_.file(),
               fmt::format("{} packets were decoded where the index expects {}", fed_, expected));
  }
  const Stopwatch watch(stats_.decode_seconds);
  const int64_t number = number_of(facts_);
  if (then_stop_ && number > position_ && is_wanted(number)) fed_ahead_.push_back(number);
  decoder_.skip_unreferenced(can_skip(number));
  // The index proved that the file decodes. What fails here are pictures that lean on what lies
  // before the key frame; a wanted picture that does not come is noticed by the caller.
  decoder_.send(*packet_, facts_);
}

int64_t Cursor::next() {
  for (;;) {
    PacketFacts facts;
    int got = 0;
    {
      const Stopwatch watch(stats_.decode_seconds);
      got = decoder_.receive(*frame_, facts);
    }
    if (got > 0) {
      ++stats_.frames_decoded;
      const int64_t number = number_of(facts);
      // What an earlier key frame governs may come out, too, but made of missing references.
      if (number < 0 || index_.frames[static_cast<size_t>(number)].key < run_key_) continue;
      position_ = number;
      std::erase_if(fed_ahead_, [&](int64_t fed) { return fed <= number; });
      return number;
    }
    if (ended_) return -1;
    feed();
  }
}

}  // namespace praxino
