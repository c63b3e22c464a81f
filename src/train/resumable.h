#pragma once
// What may not change between two starts of one run.

#include <filesystem>

#include "praxino/checkpoint/store.h"
#include "praxino/config/actions.h"
#include "praxino/config/run.h"

namespace praxino {

/// Throws praxino::Error, naming the first difference, where the configuration that the checkpoint
/// was written with differs in what its weights or its data order depend on.
void refuse_changed_run(const RunConfig& now, const TrainState& state,
                        const std::filesystem::path& directory);
/// The same for what the data set says that actions mean.
void refuse_changed_actions(const DatasetConfig& now, const TrainState& state,
                            const std::filesystem::path& directory);

}  // namespace praxino
