# The files of COCO 2017. The search split is held out of train2017 by
# `python tools/dataset_converters/coco_search_split.py data/coco`.
train2017 = dict(img='train2017/')
coco_train = dict(
    ann_file='annotations/detnas_train2017.json', data_prefix=train2017)
coco_search = dict(
    ann_file='annotations/detnas_search2017.json', data_prefix=train2017)
coco_trainval = dict(
    ann_file='annotations/instances_train2017.json', data_prefix=train2017)
coco_test = dict(
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017/'))
