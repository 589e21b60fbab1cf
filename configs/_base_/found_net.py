# Settings of the short training of a found network.
custom_hooks = [
    # The running averages of a short training are of changing weights.
    dict(type='detnas_mm.BNRecalibrationHook', num_images=500, at_end=True),
]
