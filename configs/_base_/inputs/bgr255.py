# Input of the authors' nets, and the default: BGR from 0 to 255, no mean
# subtracted; the first BN absorbs the scale.
input_mean = [0.0, 0.0, 0.0]
input_std = [1.0, 1.0, 1.0]
input_is_rgb = False
