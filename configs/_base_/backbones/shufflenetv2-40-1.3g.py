# ShuffleNetv2-40: all 3x3 blocks of the large space, stages 1.11 times as wide
# (multiples of 4): 1,271,709,348 MACs, 0.2 % above DetNASNet.
net_channels = [108, 268, 532, 1064]
net = dict(
    type='detnas_mm.DetNASNet',
    search_space=dict(
        stem_channels=48,
        stage_channels=net_channels,
        stage_blocks=[8, 8, 16, 8]),
    path='0' * 40)
