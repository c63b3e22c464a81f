#!/usr/bin/env bash
# A convergence test on a world with known truth: makes the recordings of configs/ci/pan.yaml and
# trains it from nothing; the run's own `expect:` lines decide (exit code 3). Then draws its curves.
# Usage: learn_pan.sh PRAXINO SOURCE_FOLDER
set -euo pipefail
praxino=$1
source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$praxino" data make pan "$folder/data" --episodes 24 --frames 400 --height 32 --width 32
"$praxino" train "$source/configs/ci/pan.yaml" "data.path=$folder/data" "run.output=$folder/runs"
"$praxino" eval "$folder/runs/ci-pan"
python3 "$source/tools/curves.py" "$folder/runs/ci-pan" "$folder/curves.svg"
python3 - "$folder/curves.svg" <<'PY'
import sys, xml.dom.minidom
assert len(xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName("circle")) == 3
PY
