#pragma once
// Ranks that save together without a network: joined by sockets, as threads or forked processes.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "praxino/base/error.h"
#include "praxino/checkpoint/store.h"
#include "small_state.h"

namespace praxino::testing {

/// A star of sockets: rank 0 hears from every other rank and tells all of them.
class Wires {
 public:
  explicit Wires(int64_t ranks) : ends_(static_cast<size_t>(ranks)) {
    for (auto& pair : ends_) {
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        throw std::runtime_error("no sockets");
      }
    }
  }
  ~Wires() { keep(-1); }
  Wires(const Wires&) = delete;
  Wires& operator=(const Wires&) = delete;

  /// Closes all ends that are not this rank's, so that its peers notice when its process ends;
  /// -1: keeps none.
  void keep(int64_t rank) {
    for (size_t r = 0; r < ends_.size(); ++r) {
      if (rank != 0) drop(ends_[r][0]);
      if (rank != static_cast<int64_t>(r)) drop(ends_[r][1]);
    }
  }

  SaveGroup group(int64_t rank) {
    return {.rank = rank,
            .ranks = static_cast<int64_t>(ends_.size()),
            .exchange = [this, rank](const std::string& text) { return exchange(rank, text); }};
  }

 private:
  static void drop(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }
  static void put(int end, const std::string& text) {
    const size_t size = text.size();
    put(end, &size, sizeof size);
    put(end, text.data(), size);
  }
  static void put(int end, const void* bytes, size_t size) {
    const char* from = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t sent = ::send(end, from, size, MSG_NOSIGNAL);
      if (sent <= 0) fail("a rank is gone");
      from += sent;
      size -= static_cast<size_t>(sent);
    }
  }
  static std::string take(int end) {
    size_t size = 0;
    take(end, &size, sizeof size);
    std::string text(size, ' ');
    take(end, text.data(), size);
    return text;
  }
  static void take(int end, void* bytes, size_t size) {
    char* to = static_cast<char*>(bytes);
    while (size > 0) {
      const ssize_t got = ::recv(end, to, size, 0);
      if (got <= 0) fail("a rank is gone");
      to += got;
      size -= static_cast<size_t>(got);
    }
  }

  std::vector<std::string> exchange(int64_t rank, const std::string& text) {
    std::vector<std::string> all(ends_.size(), text);
    if (rank > 0) {
      const int end = ends_[static_cast<size_t>(rank)][1];
      put(end, text);
      for (std::string& other : all) other = take(end);
      return all;
    }
    for (size_t r = 1; r < all.size(); ++r) all[r] = take(ends_[r][0]);
    for (size_t r = 1; r < all.size(); ++r) {
      for (const std::string& each : all) put(ends_[r][0], each);
    }
    return all;
  }

  std::vector<std::array<int, 2>> ends_;  // of each rank: rank 0's and its own
};

/// Every rank as a thread. What they throw is for `run` to catch.
inline void as_ranks(int64_t ranks, const std::function<void(const SaveGroup&)>& run) {
  Wires wires(ranks);
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { run(wires.group(rank)); });
  }
}

/// What `rank` of `ranks` holds of a state: every so manieth tensor, and the texts on rank 0 alone.
inline TrainState share_of(const TrainState& state, const SaveGroup& group) {
  TrainState share;
  share.step = state.step;
  for (const auto& [name, tensors] : state.files) {
    NamedTensors& own = share.files[name];
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (static_cast<int64_t>(i) % group.ranks == group.rank) own.push_back(tensors[i]);
    }
  }
  if (group.rank > 0) return share;
  share.state_json = state.state_json;
  share.texts = state.texts;
  return share;
}

/// Saves small_state(step, values) as that many ranks.
inline void save_as_ranks(const std::filesystem::path& folder, int64_t ranks, int64_t step,
                          int64_t values = 1000) {
  as_ranks(ranks, [&](const SaveGroup& group) {
    CheckpointStore(folder, 3, group).save(share_of(small_state(step, values), group));
  });
}

}  // namespace praxino::testing
