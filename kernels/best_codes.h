#pragma once
// The best entries that a lane of the search for the nearest entry has seen for one row.

#include <cstdint>

#include "kernels/host_device.h"

namespace praxino::kernels {

struct BestCodes {
  float first, second, third;  // scores, in falling order; minus infinity: none
  uint32_t first_code, second_code;
};

/// A NaN is left out; of equal scores the earlier one stays in front.
constexpr PRAXINO_HOST_DEVICE void insert(BestCodes& best, float score, uint32_t code) {
  if (!(score > best.third)) return;
  if (score > best.second) {
    best.third = best.second;
    const bool leads = score > best.first;
    best.second = leads ? best.first : score;
    best.second_code = leads ? best.first_code : code;
    best.first = leads ? score : best.first;
    best.first_code = leads ? code : best.first_code;
  } else {
    best.third = score;
  }
}

}  // namespace praxino::kernels
