# The same images in the files of COCO 2014: trainval35k and minival, for
# DETNAS_COCO=2014 in the environment. Make the annotation files with
# `python tools/dataset_converters/coco_search_split.py data/coco --year 2014`.
# They name the folder of each image, train2014 or val2014.
both_folders = dict(img='')
coco_train = dict(
    ann_file='annotations/detnas_train2014.json', data_prefix=both_folders)
coco_search = dict(
    ann_file='annotations/detnas_search2014.json', data_prefix=both_folders)
coco_trainval = dict(
    ann_file='annotations/detnas_trainval2014.json', data_prefix=both_folders)
coco_test = dict(
    ann_file='annotations/instances_minival2014.json',
    data_prefix=dict(img='val2014/'))
