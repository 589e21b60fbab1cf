# The usual normalized RGB input, selected for all stages by DETNAS_INPUT=rgb
# in the environment. Weights of one input do not fit the other.
input_mean = [123.675, 116.28, 103.53]
input_std = [58.395, 57.12, 57.375]
input_is_rgb = True
