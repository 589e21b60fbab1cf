_base_ = './detnas-supernet-small_8xb128_in1k.py'

model = dict(
    backbone=dict(search_space='large'), neck=dict(in_channels=960))
