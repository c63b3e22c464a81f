#pragma once
// Under which address the others reach this machine, without questions to a name server beyond the
// one for the name that the launcher gave.

#include <string>

namespace praxino {

/// The numeric address from which this machine reaches `host` ("10.0.0.7", "fe80::1%eth0"): no
/// packet is sent, the routing table answers. Empty where the name is unknown or nothing leads
/// there.
std::string own_address_towards(const std::string& host);

/// Whether a numeric address is one that other machines cannot reach.
bool is_loopback(const std::string& address);

}  // namespace praxino
