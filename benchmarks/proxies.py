"""Training-free scores of a network: one batch, random weights."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def nwot(net: nn.Module, images: Tensor) -> float:
    """Return the score of neural architecture search without training.

    It is the log determinant of a matrix that counts, for each two images,
    the ReLUs that agree on both (NASWOT, arXiv 2006.04647, Section 3).

    Args:
        net: The network with random weights. Its ReLUs are modules.
        images: Images of shape (N, 3, H, W), all different.
    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        active = (output > 0).flatten(1).double()
        kernel.add_(active @ active.T + (1 - active) @ (1 - active).T)

    hooks = [
        module.register_forward_hook(count)
        for module in net.modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        net.train()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.linalg.slogdet(kernel).logabsdet.item()


def synflow(net: nn.Module, image_size: tuple[int, int]) -> float:
    """Return the logarithm of the synaptic flow of a network.

    It is the sum of weight times gradient over all weights, with absolute
    weights and an image of ones (SynFlow, arXiv 2006.05467, Section 5).

    Args:
        net: The network with random weights; they become absolute.
        image_size: Height and width of the image.
    """
    net.double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.abs_()
    net.zero_grad()
    image = torch.ones(1, 3, *image_size, dtype=torch.float64)
    outputs = net(image)
    sum(output.sum() for output in outputs).backward()
    flow = sum(
        (parameter * parameter.grad).sum()
        for parameter in net.parameters()
        if parameter.grad is not None
    )
    return flow.log().item()
