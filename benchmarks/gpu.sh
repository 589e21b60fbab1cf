#!/usr/bin/env bash
# All that is to be known about one GPU, in at most eight minutes: writes
# gpu.json and gpu.md to work_dirs/gpu. Options: see benchmarks/gpu.py --help.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python}" benchmarks/gpu.py "$@"
