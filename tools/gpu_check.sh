#!/usr/bin/env bash
# Checks praxino on a machine with an NVIDIA GPU and CUDA 13, and writes one report: tests on the
# GPU, each tier forced, the kernels as PTX that the driver compiles, compute-sanitizer, benchmarks.
# Installs nothing. The most valuable comes first, and nothing begins after the time is up.
#   tools/gpu_check.sh [--minutes N] [--report FILE] [--bundle FILE]
#     --minutes N    time for all of it (default 30); 9 is enough for the tests and part of the rest
#     --report FILE  default: gpu_check.md in the folder it is called from
#     --bundle FILE  an archive of tools/gpu_bundle.sh, instead of building here
# LibTorch: LIBTORCH_ROOT, .deps/python/torch, or the wheel of whatever python3 has one.
# Exit code: 0 all passed; 1 something failed; 3 nothing failed, but something was left out or cut
# off; 4 there is no GPU: only what needs none was run.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

minutes=30
report=$PWD/gpu_check.md
bundle=
while (($#)); do
  case $1 in
    --help | -h)
      sed -n '2,12s/^# \?//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    --minutes | --report | --bundle)
      (($# > 1)) || die "$1 needs a value"
      case $1 in
        --minutes) minutes=$2 ;;
        --report) report=$(realpath -m "$2") ;;
        --bundle) bundle=$(realpath -m "$2") ;;
      esac
      shift 2
      ;;
    *) die "unknown argument '$1' (tools/gpu_check.sh --help)" ;;
  esac
done
[[ $minutes =~ ^[0-9]+$ ]] || die "--minutes needs a whole number, not '$minutes'"

readonly started=$SECONDS
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

left() { echo $((minutes * 60 - (SECONDS - started))); }

# The folder `torch` of a LibTorch 2.11, found without importing it; nothing where there is none.
find_libtorch() {
  local candidate
  for candidate in "${LIBTORCH_ROOT:-}" "$deps/python/torch" "$(python3 -c '
import importlib.util
found = importlib.util.find_spec("torch")
print(list(found.submodule_search_locations)[0] if found else "")' 2>/dev/null || true)"; do
    if [[ -n $candidate && -e $candidate/lib/libtorch_cpu.so ]]; then
      echo "$candidate"
      return
    fi
  done
}

libtorch_version() {
  sed -n "s/^__version__ = '\(.*\)'/\1/p" "$1/version.py" 2>/dev/null || true
}

# Where our programs find LibTorch, its companions, the toolkit and what the bundle brings.
library_path() {
  local path=$1/lib piece
  for piece in "$1"/../nvidia/*/lib "${CUDA_HOME:-/usr/local/cuda}/lib64" "$here/lib"; do
    [[ -d $piece ]] && path=$path:$(realpath "$piece")
  done
  echo "$path"
}

# Few threads: what the CPU does in these tests is small, and waiting threads would fill the cores.
ours() {
  env OMP_NUM_THREADS=2 LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$@"
}

failed=0
unfinished=0
rows=$folder/rows
details=$folder/details
: >"$rows"
: >"$details"

# step SECONDS NAME COMMAND...: one line of the table, and below it the end of the output, $keep
# lines where it passed. A test of the GPU that is skipped has not passed, nor what prints $refuse,
# nor what has not come back after its seconds: it hangs, unless it is $slow.
step() {
  local most=$1 name=$2 log=$folder/log code=0 verdict begin=$SECONDS hangs=1
  shift 2
  if (($(left) < 20)); then
    verdict='left out: the time was up'
    unfinished=1
    : >"$log"
  else
    ((most < $(left))) || { most=$(left) hangs=0; }
    say "$name"
    ours timeout --kill-after=10 "$most" "$@" >"$log" 2>&1 </dev/null || code=$?
    if ((code == 124 || code == 137)) && ((hangs && !${slow:-0})); then
      verdict="**failed**: not back after $most s"
      failed=1
    elif ((code == 124 || code == 137)); then
      verdict="cut off after $most s"
      unfinished=1
    elif ((code != 0)); then
      verdict="**failed** (exit code $code)"
      failed=1
    elif [[ -n ${refuse:-} ]] && grep -q "$refuse" "$log"; then
      verdict="**failed**: $refuse"
      failed=1
    elif ((gpu)) && [[ $name == *GPU* ]] && grep -q '^\[  SKIPPED \]' "$log"; then
      verdict='**failed**: tests were skipped'
      failed=1
    else
      verdict=passed
    fi
  fi
  printf '| %s | %s | %d s |\n' "$name" "$verdict" $((SECONDS - begin)) >>"$rows"
  # shellcheck disable=SC2016  # Markdown
  {
    printf '\n### %s: %s\n\n`%s`\n\n```text\n' "$name" "$verdict" "$*"
    if [[ $verdict == passed ]]; then tail -n "${keep:-6}" "$log"; else tail -n 80 "$log"; fi |
      cut -c1-240
    printf '```\n'
  } >>"$details"
}

skip() {
  printf '| %s | left out: %s | |\n' "$1" "$2" >>"$rows"
}

describe_machine() {
  printf -- '- date: %s\n- commit: %s\n- machine: %s, %s cores\n' "$(date -u +%FT%TZ)" "$commit" \
    "$(uname -srm)" "$(nproc)"
  printf -- '- processor: %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
  printf -- '- LibTorch: %s in %s\n' "$(libtorch_version "$torch")" "$torch"
  if ((gpu)); then
    local facts=name,driver_version,memory.total,clocks.sm,clocks.max.sm,temperature.gpu
    nvidia-smi --query-gpu="$facts" --format=csv,noheader | sed 's/^/- GPU: /'
    printf -- '- other processes on it: %s\n' \
      "$(nvidia-smi --query-compute-apps=pid --format=csv,noheader | wc -l)"
  else
    printf -- '- GPU: none. Nothing below says anything about a GPU.\n'
  fi
}

build_here() {
  say "building (this counts as time, too)"
  LIBTORCH_ROOT=$torch configure ci -DPRAXINO_TESTS=ON -DPRAXINO_CUDA=ON -DPRAXINO_PTX_TEST=ON
  cmake --build "$build" --parallel "$(build_jobs)" --target praxino_cli ops_test ops_cuda_test \
    optim_cuda_test ops_cuda_ptx_test kernels_test cuda_on_cpu_test
}

# In order of value. Tests of Hopper's instructions skip on other chips, and where a tier is forced.
check_gpu() {
  local tool check others='--gtest_filter=-Intrinsics.*' filter=()
  [[ $(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1) == 9.* ]] ||
    filter=("$others")
  keep=70 step 120 'doctor' "$bin/praxino" doctor
  keep=12 step 400 'tests on the GPU' "$bin/ops_cuda_test" "${filter[@]}"
  step 120 'tests of the optimizer on the GPU' "$bin/optim_cuda_test"
  keep=400 slow=1 step $(($(left) / 3)) 'benchmark of operations' "$bin/praxino" bench ops \
    --minutes "$(awk -v s="$(left)" 'BEGIN {print s / 3 / 60 * 0.8}')" --json "$report.json"
  step 300 'tests on the GPU, tier portable' env PRAXINO_TIER=portable "$bin/ops_cuda_test" \
    "$others"
  step 400 'tests on the GPU, kernels from PTX' env PRAXINO_TIER=portable \
    "$bin/ops_cuda_ptx_test" "$others"
  step 60 'clips to train on' "$bin/praxino" data make pan "$folder/pan"
  refuse='does not agree' step 120 'training on the GPU' "$bin/praxino" train \
    "$here/configs/quickstart.yaml" run.name=gpu run.device=cuda run.steps=3 run.max_minutes=0 \
    "run.output=$folder/runs" "data.path=$folder/pan" data.fps=0 eval.clips=2
  tool=$(PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin command -v compute-sanitizer || true)
  if [[ -n $tool ]]; then
    for check in memcheck racecheck initcheck synccheck; do
      slow=1 step 300 "compute-sanitizer $check" env PRAXINO_REPETITIONS=1 "$tool" --tool "$check" \
        --error-exitcode 9 "$bin/ops_cuda_test"
    done
  else
    skip compute-sanitizer 'not installed here'
    unfinished=1
  fi
  step 300 'tests on the GPU, tier tma' env PRAXINO_TIER=tma "$bin/ops_cuda_test" "$others"
}

check_without_gpu() {
  local name
  keep=70 step 120 'doctor' "$bin/praxino" doctor
  for name in 'tests on the GPU' 'benchmark of operations' 'kernels from PTX' compute-sanitizer; do
    skip "$name" 'no GPU'
  done
}

check_cpu() {
  step 120 'tests of what chooses kernels' "$bin/kernels_test"
  step 120 'tests of operations on the CPU' "$bin/ops_test"
  step 120 'benchmark program, tiny sizes, CPU' "$bin/praxino" bench ops --small --device cpu \
    --repetitions 3
  step 600 'kernels executed on the CPU' "$bin/cuda_on_cpu_test"
}

write_report() {
  local verdict='all passed'
  ((gpu)) || verdict='**there is no GPU here**; what needs none passed'
  ((!unfinished)) || verdict='nothing failed, but not everything was run to its end'
  ((!failed)) || verdict='**something failed**'
  {
    printf '# praxino on a GPU: %s\n\n' "$verdict"
    describe_machine
    printf -- '- took: %d s of %d minutes\n' $((SECONDS - started)) "$minutes"
    printf '\n| what | result | took |\n|---|---|---|\n'
    cat "$rows"
    cat "$details"
  } >"$report.new"
  mv "$report.new" "$report"
  say "$report: ${verdict//\*/}"
}

if [[ -n $bundle ]]; then
  here=$folder/bundle
  mkdir "$here"
  tar -C "$here" --strip-components=1 -xf "$bundle" || die "cannot unpack $bundle"
else
  here=$root
fi
bin=$here/bin
[[ -f $here/COMMIT ]] && commit=$(<"$here/COMMIT") ||
  commit=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
torch=$(find_libtorch)
[[ -n $torch ]] ||
  die "no LibTorch here: set LIBTORCH_ROOT to the folder 'torch' of torch 2.11"
[[ $(libtorch_version "$torch") == 2.11.* ]] ||
  die "praxino needs LibTorch 2.11, and $torch is '$(libtorch_version "$torch")'"
if [[ ! -f $here/COMMIT ]]; then
  build_here
  bin=$build/bin
fi
libraries=$(library_path "$torch")
gpu=0
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then gpu=1; fi

if ((gpu)); then check_gpu; else check_without_gpu; fi
check_cpu
write_report
((!failed)) || exit 1
((gpu)) || exit 4
((!unfinished)) || exit 3
