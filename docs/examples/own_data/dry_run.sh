#!/usr/bin/env bash
# Runs the steps of docs/own_data.md in minutes on a CPU: a few images, a few
# iterations, random weights. It shows that the configs fit the data; its
# scores mean nothing.
set -euo pipefail
OUT=work_dirs/mine_dry_run
SPLIT=annotations/detnas_search_dry_run.json
# The metric needs a file of exactly the images that are read.
IMAGES="val_dataloader.dataset.ann_file=$SPLIT val_evaluator.ann_file=data/mine/$SPLIT"
# Random weights have low scores. RetinaNet reads the first threshold, Faster
# R-CNN the second; each ignores the other.
IMAGES="$IMAGES model.test_cfg.score_thr=0.0 model.test_cfg.rcnn.score_thr=0.0"
BATCH_STATISTICS="custom_hooks.1.num_images=16"
TRAINING="train_cfg.max_iters=10 train_cfg.val_interval=10 default_hooks.logger.interval=1"

python tools/dataset_converters/coco_search_split.py data/mine \
    --ann-file annotations/detnas_search_mine.json --name _dry_run --search-images 16
python tools/train.py \
    configs/mine/retinanet_detnas-supernet-small_fpn_mine.py \
    --work-dir $OUT/supernet \
    --cfg-options $IMAGES $BATCH_STATISTICS $TRAINING \
    model.backbone.init_cfg=None
python tools/search.py configs/mine/retinanet_detnas-search-small_fpn_mine.py \
    $OUT/supernet/iter_10.pth --overwrite --work-dir $OUT/search \
    --cfg-options $IMAGES $BATCH_STATISTICS \
    val_cfg.generations=2 val_cfg.algorithm.population=4 \
    val_cfg.algorithm.parents=2
python tools/train.py configs/mine/retinanet_detnas-small_fpn_mine.py \
    --work-dir $OUT/net --cfg-options $IMAGES $TRAINING \
    model.backbone.path=$OUT/search/best.json model.backbone.init_cfg=None
