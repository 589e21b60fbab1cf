"""Networks as other implementations of DetNAS name and compute them.

Written from the names and formulas alone, to compare converted weights with:
nothing of the library is used here but the description of a search space.
"""

from collections import OrderedDict

import torch
from torch import nn

KERNELS = (3, 5, 7, 3)
AUTHORS_OPS = [f'shufflenet_{k}x{k}' for k in (3, 5, 7)] + ['xception_3x3']
MMRAZOR_OPS = ('shuffle_3x3', 'shuffle_5x5', 'shuffle_7x7', 'shuffle_xception')


def shuffled(x):
    """Channels 0, C/2, 1, C/2 + 1, ..."""
    half = x.shape[1] // 2
    return torch.stack((x[:, :half], x[:, half:]), dim=2).flatten(1, 2)


def positions(space):
    """Stage and index of each block, its channels and its stride."""
    taken = space.stem_channels
    stages = zip(space.stage_channels, space.stage_blocks, strict=True)
    for stage, (given, blocks) in enumerate(stages):
        for index in range(blocks):
            yield stage, index, taken, given, 1 if index else 2
            taken = given


def run_stages(x, blocks, space):
    """Runs blocks and returns what the last of each stage gives."""
    ends = torch.tensor(space.stage_blocks).cumsum(0) - 1
    outputs = []
    for index, block in enumerate(blocks):
        x = block(x)
        if index in ends:
            outputs.append(x)
    return outputs


def conv(taken, given, kernel=1, stride=1, bias=False, groups=1):
    return nn.Conv2d(
        taken, given, kernel, stride, kernel // 2, groups=groups, bias=bias
    )


class ConvBN(nn.Module):
    """A convolution ``conv`` and its BN ``bn``, with or without ReLU."""

    def __init__(self, taken, given, relu=True, **settings):
        super().__init__()
        self.conv = conv(taken, given, **settings)
        self.bn = nn.BatchNorm2d(given)
        self.relu = relu

    def forward(self, x):
        x = self.bn(self.conv(x))
        return x.relu() if self.relu else x


def authors_part(name, taken, given, kernel=None, stride=1):
    """A pointwise convolution, perhaps after a depthwise one."""
    part = OrderedDict()
    if kernel:
        part[f'interstellar{name}_s'] = conv(
            taken, taken, kernel, stride, groups=taken
        )
        part[f'interstellar{name}_s_bn'] = nn.BatchNorm2d(taken)
    part[f'interstellar{name}'] = conv(taken, given)
    part[f'bn{name}'] = nn.BatchNorm2d(given)
    part[f'relu{name}'] = nn.ReLU()
    return nn.Sequential(part)


class AuthorsBlock(nn.Module):
    def __init__(self, stage, index, taken, given, stride, digit, interleaved):
        super().__init__()
        self.stride, self.interleaved = stride, interleaved
        block = f'{stage + 1}{chr(ord("a") + index)}'
        name = f'{block}_{AUTHORS_OPS[digit]}_branch2'
        kernel, mid = KERNELS[digit], given // 2
        ends = (taken, given - taken) if stride == 2 else (mid, mid)
        if digit == 3:
            self.conv = nn.Sequential(
                authors_part(f'{name}a', ends[0], mid, 3, stride),
                authors_part(f'{name}b', mid, mid, 3),
                authors_part(f'{name}c', mid, ends[1], 3),
            )
        else:
            self.conv = nn.Sequential(
                authors_part(f'{name}a', ends[0], mid),
                authors_part(f'{name}b', mid, ends[1], kernel, stride),
            )
        if stride == 2:
            self.proj_conv = authors_part(
                f'{block}_proj', taken, taken, kernel, 2
            )

    def forward(self, x):
        if self.stride == 2:
            return torch.cat((self.proj_conv(x), self.conv(x)), 1)
        if self.interleaved:
            passed, taken = x[:, 0::2], x[:, 1::2]
        else:
            passed, taken = shuffled(x).chunk(2, dim=1)
        return torch.cat((passed, self.conv(taken)), 1)


class AuthorsBackbone(nn.Module):
    """The authors' network; ``path=None`` is a supernet."""

    def __init__(self, space, path=None, interleaved=False, classes=None):
        super().__init__()
        self.space, self.path = space, path
        self.first_conv = ConvBN(
            3, space.stem_channels, kernel=3, stride=2, bias=True
        )
        self.features = nn.Sequential()
        for number, place in enumerate(positions(space)):
            digits = range(4) if path is None else [path[number]]
            choices = [AuthorsBlock(*place, d, interleaved) for d in digits]
            self.features.append(
                nn.ModuleList(choices) if path is None else choices[0]
            )
        if classes:
            self.last_conv = ConvBN(space.stage_channels[-1], 16, bias=True)
            self.fc = nn.Module()
            self.fc.fc = nn.Linear(16, classes)

    def forward(self, x, path=None):
        blocks = self.features
        if self.path is None:
            blocks = [b[d] for b, d in zip(blocks, path, strict=True)]
        return run_stages(self.first_conv(x), blocks, self.space)

    def classify(self, x, path=None):
        x = self.last_conv(self.forward(x, path)[-1])
        return self.fc.fc(x.mean((2, 3)))


def spos_layers(*parts):
    """Convolutions without bias, BN without weight; ReLU where it says so."""
    layers = []
    for taken, given, kernel, stride, groups, relu in parts:
        layers.append(conv(taken, given, kernel, stride, groups=groups))
        layers.append(nn.BatchNorm2d(given, affine=False))
        layers += [nn.ReLU()] if relu else []
    return nn.Sequential(*layers)


class SPOSBlock(nn.Module):
    def __init__(self, taken, given, stride, digit):
        super().__init__()
        self.stride = stride
        kernel, mid = KERNELS[digit], given // 2
        first, last = (taken, given - taken) if stride == 2 else (mid, mid)
        if digit == 3:
            widths = (first, mid, mid, last)
            parts = []
            for index in range(3):
                a, b = widths[index : index + 2]
                step = stride if index == 0 else 1
                parts += [(a, a, 3, step, a, False), (a, b, 1, 1, 1, True)]
        else:
            parts = [
                (first, mid, 1, 1, 1, True),
                (mid, mid, kernel, stride, mid, False),
                (mid, last, 1, 1, 1, True),
            ]
        self.branch_main = spos_layers(*parts)
        if stride == 2:
            self.branch_proj = spos_layers(
                (taken, taken, kernel, 2, taken, False),
                (taken, taken, 1, 1, 1, True),
            )

    def forward(self, x):
        if self.stride == 2:
            return torch.cat((self.branch_proj(x), self.branch_main(x)), 1)
        return torch.cat((x[:, 0::2], self.branch_main(x[:, 1::2])), 1)


class SPOSBackbone(nn.Module):
    """The supernet of Single Path One-Shot."""

    def __init__(self, space, classes=5):
        super().__init__()
        self.space = space
        self.first_conv = spos_layers((3, space.stem_channels, 3, 2, 1, True))
        self.features = nn.ModuleList(
            nn.ModuleList(
                SPOSBlock(taken, given, stride, digit) for digit in range(4)
            )
            for _, _, taken, given, stride in positions(space)
        )
        last = space.stage_channels[-1]
        self.conv_last = spos_layers((last, 16, 1, 1, 1, True))
        self.classifier = nn.Sequential(nn.Linear(16, classes, bias=False))

    def forward(self, x, path):
        blocks = [b[d] for b, d in zip(self.features, path, strict=True)]
        return run_stages(self.first_conv(x), blocks, self.space)

    def classify(self, x, path):
        x = self.conv_last(self.forward(x, path)[-1])
        return self.classifier(x.mean((2, 3)))


class SeparableConv(nn.Module):
    def __init__(self, taken, given, stride=1):
        super().__init__()
        self.depthwise_conv = ConvBN(
            taken, taken, relu=False, kernel=3, stride=stride, groups=taken
        )
        self.pointwise_conv = ConvBN(taken, given)

    def forward(self, x):
        return self.pointwise_conv(self.depthwise_conv(x))


class MMRazorBlock(nn.Module):
    def __init__(self, taken, given, stride, digit):
        super().__init__()
        half, kernel = given // 2, KERNELS[digit]
        entry = taken if stride == 2 else half
        if stride == 2:
            self.branch1 = nn.Sequential(
                ConvBN(taken, taken, False, kernel=kernel, stride=2,
                       groups=taken),
                ConvBN(taken, half),
            )  # fmt: skip
        if digit == 3:
            self.branch2 = nn.Sequential(
                SeparableConv(entry, half, stride),
                SeparableConv(half, half),
                SeparableConv(half, half),
            )
        else:
            self.branch2 = nn.Sequential(
                ConvBN(entry, half),
                ConvBN(half, half, False, kernel=kernel, stride=stride,
                       groups=half),
                ConvBN(half, half),
            )  # fmt: skip

    def forward(self, x):
        if hasattr(self, 'branch1'):
            return shuffled(torch.cat((self.branch1(x), self.branch2(x)), 1))
        passed, taken = x.chunk(2, dim=1)
        return shuffled(torch.cat((passed, self.branch2(taken)), 1))


class MMRazorBackbone(nn.Module):
    """MMRazor's SearchableShuffleNetV2; ``path=None`` is a supernet."""

    def __init__(self, space, path=None, word='_candidates', last=None):
        super().__init__()
        self.space, self.path, self.word = space, path, word
        self.conv1 = ConvBN(3, space.stem_channels, kernel=3, stride=2)
        self.layers = nn.ModuleList()
        for number, (stage, index, *place) in enumerate(positions(space)):
            digits = range(4) if path is None else [path[number]]
            ops = {MMRAZOR_OPS[d]: MMRazorBlock(*place, d) for d in digits}
            mutable = nn.Module()
            setattr(mutable, word, nn.ModuleDict(ops))
            if index == 0:
                self.layers.append(nn.Sequential())
            self.layers[stage].append(mutable)
        if last:
            self.layers.append(ConvBN(space.stage_channels[-1], last))

    def forward(self, x, path=None):
        blocks = [
            getattr(mutable, self.word)[MMRAZOR_OPS[digit]]
            for mutable, digit in zip(
                self.mutables(), path or self.path, strict=True
            )
        ]
        return run_stages(self.conv1(x), blocks, self.space)

    def mutables(self):
        stages = self.layers[: len(self.space.stage_blocks)]
        return [mutable for stage in stages for mutable in stage]


def convs(taken, given, number=1, norm=False, **settings):
    """Convolutions with bias, each perhaps with a BN, and ReLU."""
    layers = []
    for _ in range(number):
        layers.append(conv(taken, given, bias=True, **settings))
        layers += [nn.BatchNorm2d(given)] if norm else []
        layers.append(nn.ReLU())
        taken = given
    return nn.Sequential(*layers)


class BenchmarkFPN(nn.Module):
    """The FPN of maskrcnn-benchmark, on all stages or from the second."""

    def __init__(self, channels, width, norm, retina=False):
        super().__init__()
        self.first = 2 if retina else 1
        for level, taken in enumerate(channels, 1):
            if level >= self.first:
                inner = convs(taken, width, norm=norm)[:-1]
                outer = convs(width, width, norm=norm, kernel=3)[:-1]
                for part, layers in (('inner', inner), ('layer', outer)):
                    # A single convolution is not in a sequence.
                    layer = layers if norm else layers[0]
                    self.add_module(f'fpn_{part}{level}', layer)
        self.retina = retina
        if retina:
            self.top_blocks = nn.Module()
            for level in (6, 7):
                extra = conv(width, width, 3, 2, bias=True)
                self.top_blocks.add_module(f'p{level}', extra)

    def forward(self, features):
        level, below, outputs = len(features), None, []
        while level >= self.first:
            inner = getattr(self, f'fpn_inner{level}')(features[level - 1])
            if below is not None:
                inner = inner + nn.functional.interpolate(
                    below, size=inner.shape[-2:], mode='nearest'
                )
            outputs.insert(0, getattr(self, f'fpn_layer{level}')(inner))
            level, below = level - 1, inner
        if self.retina:
            outputs.append(self.top_blocks.p6(outputs[-1]))
            outputs.append(self.top_blocks.p7(outputs[-1].relu()))
        else:
            outputs.append(outputs[-1][:, :, ::2, ::2])
        return outputs


class BenchmarkRetinaHead(nn.Module):
    def __init__(self, width, anchors, classes, number):
        super().__init__()
        self.cls_tower = convs(width, width, number, kernel=3)
        self.bbox_tower = convs(width, width, number, kernel=3)
        self.cls_logits = conv(width, anchors * classes, 3, bias=True)
        self.bbox_pred = conv(width, anchors * 4, 3, bias=True)

    def forward(self, feature):
        return (
            self.cls_logits(self.cls_tower(feature)),
            self.bbox_pred(self.bbox_tower(feature)),
        )


class BenchmarkRPNHead(nn.Module):
    def __init__(self, width, anchors):
        super().__init__()
        self.conv = conv(width, width, 3, bias=True)
        self.cls_logits = conv(width, anchors, bias=True)
        self.bbox_pred = conv(width, anchors * 4, bias=True)

    def forward(self, feature):
        feature = self.conv(feature).relu()
        return self.cls_logits(feature), self.bbox_pred(feature)


class BenchmarkBoxHead(nn.Module):
    """Class 0 is the background."""

    def __init__(self, width, size, hidden, classes, convolutions, norm, fcs):
        super().__init__()
        self.feature_extractor = nn.Module()
        self.fcs = [f'fc{6 + index}' for index in range(fcs)]
        if convolutions:
            self.feature_extractor.xconvs = convs(
                width, width, convolutions, norm, kernel=3
            )
        taken = width * size**2
        for name in self.fcs:
            self.feature_extractor.add_module(name, nn.Linear(taken, hidden))
            taken = hidden
        self.predictor = nn.Module()
        self.predictor.cls_score = nn.Linear(hidden, classes + 1)
        self.predictor.bbox_pred = nn.Linear(hidden, 4 * (classes + 1))

    def forward(self, x):
        extractor = self.feature_extractor
        if hasattr(extractor, 'xconvs'):
            x = extractor.xconvs(x)
        x = x.flatten(1)
        for name in self.fcs:
            x = getattr(extractor, name)(x).relu()
        return self.predictor.cls_score(x), self.predictor.bbox_pred(x)


class BenchmarkDetector(nn.Module):
    """A detector of the authors' code; a supernet stands beside its FPN."""

    def __init__(self, body, fpn, rpn_head, box_head=None):
        super().__init__()
        if body.path is None:
            self.backbone, self.fpn = body, fpn
        else:
            self.backbone = nn.Sequential(OrderedDict(body=body, fpn=fpn))
        self.rpn = nn.Module()
        self.rpn.head = rpn_head
        anchors = nn.Module()
        anchors.cell_anchors = nn.Module()
        anchors.cell_anchors.register_buffer('0', torch.zeros(3, 4))
        self.rpn.anchor_generator = anchors
        if box_head is not None:
            self.roi_heads = nn.Module()
            self.roi_heads.box = box_head

    def features(self, x, path=None):
        if path is None:
            return self.backbone(x)
        return self.fpn(self.backbone(x, path))
