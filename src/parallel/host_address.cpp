#include "parallel/host_address.h"

#include <dlfcn.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>

// c10d's TCP store asks for the name of its peer at each connection, on both sides, to print it in
// messages; on the server's side no other rank is served meanwhile. Where no name server answers
// (nodes without one, one that drops packets) each question takes five seconds or more, and a
// start waits for several. POSIX lets getnameinfo() answer with the numeric form unless NI_NAMEREQD
// is asked for: in programs that contain this object it does.
namespace {
using GetNameInfo = decltype(&::getnameinfo);
// Found while the program is loaded, by one thread: a process that is forked while another thread
// looks for it would wait for that thread for ever.
const auto libc_getnameinfo = reinterpret_cast<GetNameInfo>(::dlsym(RTLD_NEXT, "getnameinfo"));
}  // namespace

extern "C" int getnameinfo(const sockaddr* address, socklen_t length, char* host,
                           socklen_t host_length, char* service, socklen_t service_length,
                           int flags) {
  if ((flags & NI_NAMEREQD) == 0) flags |= NI_NUMERICHOST;
  return libc_getnameinfo(address, length, host, host_length, service, service_length, flags);
}

namespace praxino {
namespace {

/// The address of this end of a socket that was connected to `peer`; empty: cannot be.
std::string address_towards(const addrinfo& peer) {
  const int socket = ::socket(peer.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return {};
  sockaddr_storage own{};
  auto* const address = reinterpret_cast<sockaddr*>(&own);
  socklen_t length = sizeof own;
  std::array<char, NI_MAXHOST> text{};
  const bool known =
      ::connect(socket, peer.ai_addr, peer.ai_addrlen) == 0 &&
      ::getsockname(socket, address, &length) == 0 &&
      ::getnameinfo(address, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0;
  ::close(socket);
  return known ? std::string(text.data()) : std::string();
}

}  // namespace

std::string own_address_towards(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  // Some port: a datagram socket that sends nothing needs it all the same.
  if (::getaddrinfo(host.c_str(), "9", &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> peers(found, &::freeaddrinfo);
  for (const addrinfo* peer = found; peer != nullptr; peer = peer->ai_next) {
    std::string address = address_towards(*peer);
    if (!address.empty()) return address;
  }
  return {};
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace praxino
