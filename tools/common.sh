# shellcheck shell=bash
# What the scripts of tools/ share. Source it; it changes no folder and prints nothing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # read by the scripts that source this file
deps=${PRAXINO_DEPS:-$root/.deps}
# shellcheck disable=SC2034
build=${PRAXINO_BUILD:-$root/build}

say() { printf '== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# How many compilers may run at once: one per core, but each wants about 1.5 GiB.
build_jobs() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 1024 / 1536)}' /proc/meminfo)
  ((memory >= 1)) || memory=1
  echo $((cores < memory ? cores : memory))
}

# nvcc of a CUDA toolkit 13, or nothing.
find_nvcc() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc"; do
    if [[ -x $nvcc ]] && "$nvcc" --version | grep -qE 'release (1[3-9]|[2-9][0-9])\.'; then
      echo "$nvcc"
      return
    fi
  done
}

# Configures the preset $1 into the build folder, further arguments to CMake.
configure() {
  local preset=$1
  shift
  LIBTORCH_ROOT=${LIBTORCH_ROOT:-$deps/python/torch} \
    cmake --preset "$preset" -S "$root" -B "$build" "$@"
}
