# ShuffleNetv2-20: all 3x3 blocks of the small space, stages 1.07 times as wide
# (multiples of 4): 299,703,600 MACs, 0.1 % below 300M.
net_channels = [68, 172, 344, 684]
net = dict(
    type='detnas_mm.DetNASNet',
    search_space=dict(
        stem_channels=16,
        stage_channels=net_channels,
        stage_blocks=[4, 4, 8, 4]),
    path='0' * 20)
