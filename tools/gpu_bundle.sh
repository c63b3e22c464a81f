#!/usr/bin/env bash
# Packs what a machine with a GPU needs to check praxino: the command, the tests, and the libraries
# they load beyond LibTorch, CUDA and the C library, into one archive of at most 60 MiB.
#   tools/gpu_bundle.sh [FILE]      default: praxino-gpu.tar.xz in the build folder
# There:  tar xf praxino-gpu.tar.xz && praxino-gpu/tools/gpu_check.sh
# (or, where xz is missing: python3 -m tarfile -e praxino-gpu.tar.xz). It runs with the C library of
# the machine that packs it, or a newer one. Builds first; PRAXINO_BUILD moves the folder build.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly most_bytes=$((60 << 20))
# What is run there (tools/gpu_check.sh). None of them needs the sources.
readonly programs=(praxino ops_test ops_cuda_test optim_cuda_test ops_cuda_ptx_test kernels_test
  cuda_on_cpu_test)
# The C and C++ libraries, and what the LibTorch of that machine brings.
readonly base='/(ld-linux.*|lib(c|m|dl|rt|util|pthread|stdc\+\+|gcc_s|gomp))\.so'
readonly theirs="$base|/lib(torch|c10|shm|nccl|nv|cu(da|dnn|blas|fft|file|pti|rand|s[po]))"

case ${1:-} in
  --help | -h)
    sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"
    exit 0
    ;;
  -*) die "unknown argument '$1' (tools/gpu_bundle.sh [FILE])" ;;
esac

# The files that the loader takes for these programs, beyond those of the machine there.
libraries() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u | grep -vE "$theirs"
}

main() {
  local file=$1 folder bytes
  [[ -n $(find_nvcc) ]] || die "a bundle for a GPU needs nvcc 13: none was found"
  configure ci -DPRAXINO_TESTS=ON -DPRAXINO_CUDA=ON -DPRAXINO_PTX_TEST=ON
  say "building with $(build_jobs) jobs"
  cmake --build "$build" --parallel "$(build_jobs)" --target praxino_cli "${programs[@]:1}"
  folder=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$folder'" EXIT
  mkdir -p "$folder/praxino-gpu"/{bin,lib,tools,configs}
  cp "${programs[@]/#/$build/bin/}" "$folder/praxino-gpu/bin/"
  libraries "${programs[@]/#/$build/bin/}" | xargs cp -Lt "$folder/praxino-gpu/lib/"
  strip --strip-unneeded "$folder/praxino-gpu"/bin/*
  cp "$root/tools/gpu_check.sh" "$root/tools/common.sh" "$folder/praxino-gpu/tools/"
  cp "$root/configs/quickstart.yaml" "$folder/praxino-gpu/configs/"
  git -C "$root" describe --always --dirty --abbrev=12 >"$folder/praxino-gpu/COMMIT" 2>/dev/null ||
    echo unknown >"$folder/praxino-gpu/COMMIT"
  say "packing"  # in one window: the programs hold the same code
  tar -C "$folder" --owner=0 --group=0 -cf - praxino-gpu | xz --lzma2=preset=6,dict=128MiB >"$file.new"
  bytes=$(stat -c %s "$file.new")
  ((bytes <= most_bytes)) || die "$file.new has $bytes bytes, more than $most_bytes"
  mv "$file.new" "$file"
  say "$file: $((bytes >> 20)) MiB"
}

main "${1:-$build/praxino-gpu.tar.xz}"
