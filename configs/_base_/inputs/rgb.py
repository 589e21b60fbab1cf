# The usual normalised RGB input. All stages take it with DETNAS_INPUT=rgb in
# the environment. Weights of one input are of no use with the other.
input_mean = [123.675, 116.28, 103.53]
input_std = [58.395, 57.12, 57.375]
input_is_rgb = True
