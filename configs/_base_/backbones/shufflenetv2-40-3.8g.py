# ShuffleNetv2-40 (3.8): all 3x3 blocks of the 3.8G space, stages 1.1 times as
# wide (multiples of 4): 3,930,860,360 MACs, 0.2 % below DetNASNet (3.8).
net_channels = [188, 476, 952, 1900]
net = dict(
    type='detnas_mm.DetNASNet',
    search_space=dict(
        stem_channels=72,
        stage_channels=net_channels,
        stage_blocks=[8, 8, 16, 8]),
    path='0' * 40)
