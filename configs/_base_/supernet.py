# What every supernet training needs.
custom_hooks = [
    dict(type='detnas_mm.SinglePathSamplingHook'),
    # Validation sees the path of the last iteration, with its own statistics.
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500),
]
# The blocks that a path does not take get no gradient.
find_unused_parameters = True
