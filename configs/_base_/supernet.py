# Settings of every supernet training.
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    # Validation uses the path of the last iteration, with recomputed BN
    # statistics.
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500),
]
# Blocks outside the path get no gradient.
find_unused_parameters = True
