#pragma once
// How the threads of the model wait for each other.

namespace praxino {

/// Makes OpenMP's threads sleep while they wait, unless OMP_WAIT_POLICY or GOMP_SPINCOUNT says
/// otherwise. The library reads that once, while the process is loaded, so the process starts
/// itself again (0.5 s); returns when nothing needs to change or the restart fails. Threads that
/// spin take the cores from the decoders and from each other: a training step on two busy cores
/// took 5.2 s spinning and 0.9 s sleeping (docs/benchmarks/cpu.md).
void wait_without_spinning(int argc, char** argv);

}  // namespace praxino
