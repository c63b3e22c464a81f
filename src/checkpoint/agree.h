#pragma once
// How the ranks that save together find out whether all of them have done their part.

#include <functional>
#include <string>
#include <vector>

#include "praxino/checkpoint/store.h"

namespace praxino {

/// Does `work` and tells the other ranks how it ended, whatever it threw (a process that is alone
/// throws again what is no praxino::Error): by rank, how it ended on each. Throws praxino::Error
/// where the ranks cannot reach each other. Every rank must call it.
std::vector<std::string> tell_outcomes(const SaveGroup& group,
                                       const std::function<std::string()>& work);
/// Each rank where the work failed and why, in the same words on all ranks; empty: it is done.
std::string failures(const SaveGroup& group, const std::vector<std::string>& outcomes);
/// What `work` returned, by rank. Throws praxino::Error with the failures where there are some.
std::vector<std::string> require_done(const SaveGroup& group,
                                      const std::vector<std::string>& outcomes);

}  // namespace praxino
