#!/usr/bin/env bash
# From a fresh clone to a small world model: installs what is missing, builds, trains on the
# recordings that come with praxino, measures the result on held-out clips and imagines one of them.
# A second run goes on where the first one stopped, or, if that was the end, only measures again.
# Further arguments are run keys, such as run.steps=100. PRAXINO_DEPS and PRAXINO_BUILD move the
# folders .deps and build.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cd "$root"  # run files name data sets from here
run_file=configs/quickstart.yaml

"$root/tools/setup.sh"
if [[ ! -f $build/build.ninja ]]; then
  say "configuring in $build"
  configure dev
fi
say "building praxino with $(build_jobs) jobs (the first time takes a while)"
cmake --build "$build" --parallel "$(build_jobs)" --target praxino_cli
praxino=$build/bin/praxino

# The run directory, as the resolved run says.
resolved=$("$praxino" config show "$run_file" "$@")
value_of() { sed -n "/^run:/,/^[a-z]/s/^  $1: *//p" <<<"$resolved" | tr -d "\"'"; }
run_dir=$(value_of output)/$(value_of name)

say "training $run_file into $run_dir"
"$praxino" train "$run_file" "$@"
say "measuring $run_dir on held-out clips"
"$praxino" eval "$run_dir"
say "imagining a held-out clip"
"$praxino" rollout "$run_dir"
say "done. Look at the pictures in $run_dir/samples"
