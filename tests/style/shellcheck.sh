#!/usr/bin/env bash
# Every script is clean under shellcheck; exit code 77 (skipped) where there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v shellcheck >/dev/null; then
  echo "skipped: no shellcheck here (Debian: apt-get install shellcheck)"
  exit 77
fi
find tools tests -name '*.sh' -exec shellcheck -x --severity=warning .ci/run {} +
