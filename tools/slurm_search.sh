#!/usr/bin/env bash
# Usage: [GPUS=8] tools/slurm_search.sh PARTITION JOB_NAME CONFIG CHECKPOINT [ARGUMENTS OF tools/search.py]
set -euo pipefail

if [ $# -lt 4 ]; then
    sed -n "s/^# \\(Usage: .*\\)/\\1/p" "$0" >&2
    exit 2
fi

PARTITION=$1
JOB_NAME=$2
CONFIG=$3
CHECKPOINT=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
CPUS_PER_TASK=${CPUS_PER_TASK:-5}
SRUN_ARGS=${SRUN_ARGS:-}

# SRUN_ARGS may be several words.
# shellcheck disable=SC2086
srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    --gres="gpu:$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="$CPUS_PER_TASK" \
    --kill-on-bad-exit=1 \
    $SRUN_ARGS \
    python -u "$(dirname "$0")/search.py" \
    "$CONFIG" "$CHECKPOINT" --launcher slurm "${@:5}"
