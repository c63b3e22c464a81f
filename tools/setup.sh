#!/usr/bin/env bash
# Installs what praxino is built from, where it is missing: Debian packages with apt-get, LibTorch
# (the wheel torch==2.11.0 and its companions) with pip into .deps/python of this folder, never into
# your Python. Does nothing when all is there. PRAXINO_DEPS moves the folder .deps; LIBTORCH_ROOT
# names a LibTorch 2.11 of your own.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly libraries=(
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libyaml-cpp-dev libfmt-dev
  libspdlog-dev libcli11-dev nlohmann-json3-dev libxxhash-dev libgtest-dev libgmock-dev
  libboost-context-dev openmpi-bin
)

# Prints the Debian packages that are missing. Tools count as present however they were installed.
missing_packages() {
  # shellcheck disable=SC2016  # dpkg-query's own variables
  local pair package status='${Package} ${db:Status-Status}\n' installed
  for pair in g++:g++ cmake:cmake ninja:ninja-build pkg-config:pkg-config python3:python3; do
    command -v "${pair%%:*}" >/dev/null || echo "${pair#*:}"
  done
  command -v dpkg-query >/dev/null || return 0
  installed=$(dpkg-query -W -f "$status" "${libraries[@]}" 2>/dev/null) || true
  for package in "${libraries[@]}"; do
    grep -q "^$package installed$" <<<"$installed" || echo "$package"
  done
}

install_packages() {
  local install=(apt-get install -y --no-install-recommends "$@") as_root=()
  if ! command -v apt-get >/dev/null; then
    die "these are missing, and there is no apt-get to install them: $*"
  fi
  if ((EUID != 0)); then
    if ! sudo -n true 2>/dev/null; then
      printf 'setup.sh: some packages are missing. Install them, then run this again:\n' >&2
      printf '  sudo %s\n' "${install[*]}" >&2
      exit 1
    fi
    as_root=(sudo -n)
  fi
  say "installing Debian packages: $*"
  "${as_root[@]}" apt-get update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}"
}

# What LibTorch loads beside its own files: the library and the package that brings it. All machines
# need the first two; the others come with a CUDA build, as far as the loader does not find them in
# the toolkit.
readonly always=(nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96)
readonly for_cuda=(
  libcudnn.so.9:nvidia-cudnn-cu13==9.19.0.56
  libnccl.so.2:nvidia-nccl-cu13==2.28.9
  libcusparseLt.so.0:nvidia-cusparselt-cu13==0.8.0
  libnvshmem_host.so.3:nvidia-nvshmem-cu13==3.4.5
  libcufile.so.0:nvidia-cufile==1.15.1.6
  libcublas.so.13:nvidia-cublas==13.1.0.3
  libcufft.so.12:nvidia-cufft==12.0.0.61
  libcusparse.so.12:nvidia-cusparse==12.6.3.3
  libcurand.so.10:nvidia-curand==10.4.0.35
  libnvJitLink.so.13:nvidia-nvjitlink==13.0.88
  libnvrtc.so.13:nvidia-cuda-nvrtc==13.0.88
  libcusolver.so.12:nvidia-cusolver==12.0.4.66
)

wheels() {
  local pair loader
  printf '%s\n' torch==2.11.0 "${always[@]}"
  [[ -n $(find_nvcc) ]] || return 0
  loader=$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p)
  for pair in "${for_cuda[@]}"; do
    grep -qF "${pair%%:*} " <<<"$loader" || echo "${pair#*:}"
  done
}

# True where every wheel of the list is unpacked below $deps/python, where names have underscores.
unpacked() {
  local wheel name
  for wheel in "$@"; do
    name=${wheel%%==*}
    [[ -d $deps/python/${name//-/_}-${wheel#*==}.dist-info ]] || return 1
  done
}

# One call of pip into a fresh folder that is renamed when it is whole: pip would delete the folder
# `nvidia`, which the wheels share, if it were asked to add one of them later.
install_libtorch() {
  if ! python3 -m pip --version >/dev/null 2>&1; then
    install_packages python3-pip
  fi
  say "fetching LibTorch into $deps/python (0.5 to 2.5 GB, once): $*"
  rm -rf "$deps"/python.new.*
  local new
  new=$(mktemp -d "$deps/python.new.XXXXXX")
  python3 -m pip install --no-deps --no-compile --no-warn-script-location --target "$new" "$@" ||
    die "pip could not fetch LibTorch; PIP_INDEX_URL or PIP_FIND_LINKS name a mirror"
  chmod 755 "$new"
  rm -rf "$deps/python"
  mv "$new" "$deps/python"
}

main() {
  local packages list
  mapfile -t packages < <(missing_packages)
  if ((${#packages[@]})); then
    install_packages "${packages[@]}"
  fi
  if [[ -z ${LIBTORCH_ROOT:-} ]]; then
    mapfile -t list < <(wheels)
    unpacked "${list[@]}" && return
    mkdir -p "$deps"
    exec 9>"$deps/lock"
    flock 9  # one set-up at a time
    unpacked "${list[@]}" || install_libtorch "${list[@]}"
  fi
}

main "$@"
