#!/usr/bin/env bash
# Installs what is missing, builds everything with warnings as errors, and runs the tests.
#   tools/test.sh           the tests of every day
#   tools/test.sh --long    the long variants as well, and every public header compiled alone
# PRAXINO_DEPS and PRAXINO_BUILD move the folders .deps and build.
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

long=0
for argument in "$@"; do
  case $argument in
    --long) long=1 ;;
    --help | -h)
      sed -n '2,5s/^# \?//p' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "unknown argument '$argument' (tools/test.sh [--long])" ;;
  esac
done

"$root/tools/setup.sh"
configure ci -DPRAXINO_TESTS=ON
say "building with $(build_jobs) jobs"
cmake --build "$build" --parallel "$(build_jobs)"
if ((long)); then
  export PRAXINO_LONG_TESTS=1
  cmake --build "$build" --parallel "$(build_jobs)" --target verify_headers
fi
exec ctest --test-dir "$build" --parallel 2 --output-on-failure
