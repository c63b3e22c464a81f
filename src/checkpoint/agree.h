#pragma once
// How the ranks that save together find out whether all of them have done their part.

#include <functional>
#include <string>
#include <vector>

#include "praxino/checkpoint/store.h"

namespace praxino {

/// Does `work` and tells the other ranks how it ended, whatever it threw: by rank, how it ended on
/// each. Throws praxino::Error where the ranks cannot reach each other. Every rank must call it.
std::vector<std::string> tell_outcomes(const SaveGroup& group,
                                       const std::function<std::string()>& work);
/// What `work` returned, by rank. Throws praxino::Error, the same on all ranks, naming each rank
/// where it failed and why.
std::vector<std::string> require_done(const SaveGroup& group,
                                      const std::vector<std::string>& outcomes);

}  // namespace praxino
