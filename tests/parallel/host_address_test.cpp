#include "parallel/host_address.h"

#include <ATen/ops/full.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <resolv.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

#include "praxino/parallel/mesh.h"

namespace praxino {
namespace {

/// Counts questions and answers none, as the name server of a node behind a closed door.
class SilentNameServer {
 public:
  SilentNameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    place_.sin_family = AF_INET;
    place_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof place_;
    auto* const address = reinterpret_cast<sockaddr*>(&place_);
    EXPECT_EQ(::bind(socket_, address, length), 0);
    EXPECT_EQ(::getsockname(socket_, address, &length), 0);
  }
  ~SilentNameServer() { ::close(socket_); }
  SilentNameServer(const SilentNameServer&) = delete;
  SilentNameServer& operator=(const SilentNameServer&) = delete;

  /// From now on the calling thread asks here, once and for a second.
  void serve_this_thread() const {
    ASSERT_EQ(::res_init(), 0);
    _res.nscount = 1;
    _res.nsaddr_list[0] = place_;
    _res.retrans = 1;
    _res.retry = 1;
  }
  int64_t questions() const {
    std::array<char, 512> question{};
    int64_t count = 0;
    while (::recv(socket_, question.data(), question.size(), MSG_DONTWAIT) > 0) ++count;
    return count;
  }

 private:
  int socket_;
  sockaddr_in place_{};
};

/// What getnameinfo() says of the address 192.0.2.1, which nobody has (RFC 5737).
std::string name_of_nobody(int flags) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, "192.0.2.1", &address.sin_addr);
  std::array<char, NI_MAXHOST> name{};
  const int code = ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), sizeof address,
                                 name.data(), name.size(), nullptr, 0, flags);
  return code == 0 ? std::string(name.data()) : "";
}

TEST(HostAddress, NamesOfPeersAreNumbersUnlessNamesAreAskedFor) {
  const SilentNameServer server;
  std::jthread([&] {
    server.serve_this_thread();
    EXPECT_EQ(name_of_nobody(0), "192.0.2.1");
    EXPECT_EQ(server.questions(), 0);
    EXPECT_EQ(name_of_nobody(NI_NAMEREQD), "");
  }).join();
  if (server.questions() == 0) GTEST_SKIP() << "this machine asks no name server for hosts";
}

TEST(HostAddress, LibTorchAsksTheSameFunction) {
  EXPECT_EQ(::dlsym(RTLD_DEFAULT, "getnameinfo"), reinterpret_cast<void*>(&::getnameinfo));
}

TEST(HostAddress, AMeshJoinsWithoutAQuestionToANameServer) {
  const SilentNameServer names;
  const StoreServer store;
  std::vector<std::jthread> threads;
  for (int64_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      names.serve_this_thread();
      const Launch launch{.rank = rank,
                          .ranks = 2,
                          .local_rank = rank,
                          .local_ranks = 2,
                          .address = "127.0.0.1",
                          .port = store.port(),
                          .agent_store = true};
      const auto mesh = Mesh::join(launch, {.shape = {.data = 2}});
      const at::Tensor one = at::full({1}, 1.0);
      mesh->data().all_reduce(one).wait();
      EXPECT_EQ(one.item<double>(), 2);
    });
  }
  threads.clear();
  EXPECT_EQ(names.questions(), 0);
}

TEST(HostAddress, IsTheOneThatLeadsToTheHost) {
  EXPECT_EQ(own_address_towards("127.0.0.1"), "127.0.0.1");
  EXPECT_TRUE(is_loopback(own_address_towards("localhost")));
  EXPECT_EQ(own_address_towards("no..host"), "");
  EXPECT_FALSE(is_loopback("10.0.0.7"));
}

}  // namespace
}  // namespace praxino
