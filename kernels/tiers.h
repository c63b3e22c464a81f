#pragma once
// Which kernels a GPU can run, from its compute capability alone. Pure, for host and device code.
//
// Tiers do not nest: a chip of tier `rubin` runs `portable` and `tma` kernels, never `hopper` ones
// (wgmma exists on 9.0 only). So a kernel asks runs_on() for each of its variants, best first.

#include <optional>
#include <string_view>

#include "kernels/host_device.h"

namespace praxino::kernels {

enum class Tier {
  kNone,      // older than 8.0: the ATen formulas serve
  kPortable,  // compute_80 PTX: mma.sync and cp.async, everything from 8.0, newer chips by JIT
  kTma,       // sm_90 and compute_90 PTX: bulk copies and clusters, everything from 9.0
  kHopper,    // sm_90a: wgmma, 9.0 only
  kRubin,     // sm_100f and compute_100f PTX: tcgen05, the family 10.x (Blackwell and Rubin data
              // centre chips)
};

/// The most capable tier of a chip.
constexpr PRAXINO_HOST_DEVICE Tier best_tier(int major, int minor) noexcept {
  if (major < 8) return Tier::kNone;
  if (major < 9) return Tier::kPortable;
  if (major == 9) return minor == 0 ? Tier::kHopper : Tier::kTma;
  return major == 10 ? Tier::kRubin : Tier::kTma;
}

/// True where kernels built for `tier` run on a chip whose best tier is `best`.
constexpr PRAXINO_HOST_DEVICE bool runs_on(Tier tier, Tier best) noexcept {
  switch (tier) {
    case Tier::kNone: return true;
    case Tier::kPortable: return best != Tier::kNone;
    case Tier::kTma: return best != Tier::kNone && best != Tier::kPortable;
    case Tier::kHopper:
    case Tier::kRubin: return tier == best;
  }
  return false;
}

constexpr PRAXINO_HOST_DEVICE const char* to_string(Tier tier) noexcept {
  switch (tier) {
    case Tier::kNone: return "none";
    case Tier::kPortable: return "portable";
    case Tier::kTma: return "tma";
    case Tier::kHopper: return "hopper";
    case Tier::kRubin: return "rubin";
  }
  return "none";
}

/// The tier of that name; nothing for other words.
constexpr std::optional<Tier> tier_named(std::string_view name) noexcept {
  for (const Tier tier : {Tier::kNone, Tier::kPortable, Tier::kTma, Tier::kHopper, Tier::kRubin}) {
    if (name == to_string(tier)) return tier;
  }
  return std::nullopt;
}

}  // namespace praxino::kernels
