#!/usr/bin/env bash
# The whole method on the embedded digits data, on two cores in a quarter of an
# hour: pre-train a supernet, fine-tune it in a detector, search, retrain the
# found backbone beside two others, test. A second call goes on where the
# first one stopped.
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
cd "$(dirname "$0")/.."
# shellcheck source=tools/environment.sh
source tools/environment.sh
install_environment

OUT=work_dirs/quickstart
mkdir -p "$OUT"
# Lines worth seeing; all others are in the log file of the step.
SHOWN='Epoch\((train|val|test)\)|Search |Generation |^data/digits:|^  (images|boxes|crops|digits|verified)|^error'

# step NAME COMMAND...: runs a command once; its output goes to NAME.log.
step() {
    local name=$1 status
    shift
    printf '\n$ %s\n' "$*"
    if [ -e "$OUT/$name.done" ]; then
        echo "  done before, see $OUT/$name.log"
        return
    fi
    set +e
    "$@" 2>&1 | tee "$OUT/$name.log" |
        grep --line-buffered -E "$SHOWN" |
        sed -u -E 's/^[0-9/]+ [0-9:]+ - mmengine - [^A-Z]*[A-Z]+[^-]* - //' |
        sed -u "s/^/[$name] /"
    status=${PIPESTATUS[0]}
    set -e
    if [ "$status" -ne 0 ]; then
        echo "failed, last lines of $OUT/$name.log:"
        tail -n 5 "$OUT/$name.log"
        exit "$status"
    fi
    touch "$OUT/$name.done"
}

CONFIGS=configs/digits
SUPERNET=$OUT/supernet
SEARCH=$OUT/search
SEARCH_CONFIG=$CONFIGS/retinanet_detnas-search-tiny_fpn_digits.py

# retrain NAME PATH: trains a backbone from nothing and tests it.
retrain() {
    local name=$1 path=$2
    step "pretrain_$name" python tools/train.py \
        $CONFIGS/detnas-tiny_digits-cls.py \
        --work-dir "$OUT/pretrained_$name" --resume \
        --cfg-options "model.backbone.path='$path'"
    step "train_$name" python tools/train.py \
        $CONFIGS/retinanet_detnas-tiny_fpn_digits.py \
        --work-dir "$OUT/detector_$name" --resume \
        --cfg-options "model.backbone.path='$path'" \
        "model.backbone.init_cfg.checkpoint=$OUT/pretrained_$name/epoch_4.pth"
    step "test_$name" python tools/test.py \
        $CONFIGS/retinanet_detnas-tiny_fpn_digits.py \
        "$(ls "$OUT/detector_$name"/epoch_*.pth)" \
        --work-dir "$OUT/test_$name" \
        --cfg-options "model.backbone.path='$path'"
}

step data python tools/dataset_converters/digits.py --out data/digits

# Small networks gain little from a second thread, so two commands run side by
# side with one each: here the hand-crafted net beside the supernet.
export OMP_NUM_THREADS=1
retrain all_3x3 0000000000 & ALL_3X3=$!

# 1. Pre-train the supernet as a classifier, under mmpretrain.
step stage1 python tools/train.py \
    $CONFIGS/detnas-supernet-tiny_digits-cls.py \
    --work-dir "$OUT/pretrained_supernet" --resume

# 2. Fine-tune it as the backbone of a detector, under mmdet.
step stage2 python tools/train.py \
    $CONFIGS/retinanet_detnas-supernet-tiny_fpn_digits.py \
    --work-dir "$SUPERNET" --resume --cfg-options \
    "model.backbone.init_cfg.checkpoint=$OUT/pretrained_supernet/epoch_10.pth"
CHECKPOINT=$(ls "$SUPERNET"/epoch_*.pth)
wait "$ALL_3X3"

# 3. Search its paths, two candidates at a time.
step search bash tools/dist_search.sh $SEARCH_CONFIG "$CHECKPOINT" 2 \
    --work-dir "$SEARCH" --resume
FOUND=$(python tools/analysis_tools/pick_path.py "$SEARCH" best)
MEDIAN=$(python tools/analysis_tools/pick_path.py "$SEARCH" median-random)

# Retrain what was found, and a random path. The score of the hand-crafted net
# is for the table.
retrain found "$FOUND" & PIDS=$!
retrain median_random "$MEDIAN" & PIDS="$PIDS $!"
step score_3x3 python tools/search.py $SEARCH_CONFIG "$CHECKPOINT" \
    --work-dir "$OUT/score_3x3" --resume --paths 0000000000
for pid in $PIDS; do wait "$pid"; done

echo
python tools/analysis_tools/compare_nets.py \
    --search "$SEARCH" "$OUT/score_3x3" \
    --net found "$FOUND" "$OUT/test_found" \
    --net all-3x3 0000000000 "$OUT/test_all_3x3" \
    --net median-random "$MEDIAN" "$OUT/test_median_random"
cat <<END

Record of the search   $SEARCH/search_record.jsonl
Found path             $SEARCH/best.json
Backbone config        $SEARCH/best_backbone.py
Trained detector       $(ls "$OUT"/detector_found/epoch_*.pth)
Logs of all steps      $OUT/*.log
END
