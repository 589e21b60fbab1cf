_base_ = './detnas_classifier.py'

# PyTorch's own initialization: with the authors' small weights, training at
# the learning rate of a short schedule diverges.
init_cfg = dict(
    type='Kaiming',
    layer='Conv2d',
    a=5**0.5,
    mode='fan_in',
    nonlinearity='leaky_relu',
    distribution='uniform')
model = dict(
    backbone=dict(search_space='tiny'),
    neck=dict(in_channels=256, out_channels=256, init_cfg=init_cfg),
    head=dict(num_classes=10, in_channels=256))
