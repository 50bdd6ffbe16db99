"""The ViT family: an image cut into patches, an encoder that sees them all, one class.

Its tokens are the class token and the patches, its vocabulary is the classes; its blocks are
GPT-2's.

Shapes: B batch, T tokens, D model width, V classes, A patches along an edge, S pixels along a
patch's edge, C channels.
"""

import torch
from torch import nn

from trnbench.protocol.model import ModelShape
from trnbench.train.layers.attention import Mask
from trnbench.train.layers.linear import LayerNorm, Linear
from trnbench.train.models.base import Blocks, Hidden, Model
from trnbench.train.models.gpt2 import Block

MIDDLE, SPREAD = 127.5, 127.5
"""(byte - MIDDLE) / SPREAD is from -1 to 1, as the published weights expect."""


class Vit(Model):
    """An encoder whose logits equal those of Hugging Face's ViTForImageClassification."""

    def __init__(
        self, shape: ModelShape, sequence_length: int, document_length: int | None = None
    ) -> None:
        super().__init__(shape, sequence_length, document_length)
        if shape.image is None:
            raise ValueError("a vision transformer needs the size of its image")
        image, width = shape.image, shape.hidden_size
        self.patch_size = image.patch_size
        self.patch = Linear(image.channels * image.patch_size**2, width)
        self.class_token = nn.Parameter(torch.empty(1, width))
        self.positions = nn.Parameter(torch.empty(shape.max_positions, width))
        mask = Mask(is_causal=False)
        self.blocks = Blocks(Block(shape, mask, "none") for _ in range(shape.layers))
        self.norm = LayerNorm(width, eps=shape.norm_epsilon)
        self.head = Linear(width, shape.vocabulary_size)

    def hidden(self, inputs: torch.Tensor, positions: torch.Tensor | None = None) -> Hidden:
        """Return the class token's state, (B, D); inputs are images, (B, C, pixels, pixels)."""
        pixels = (inputs.float() - MIDDLE) / SPREAD
        weights = self.compute_dtype or self.patch.weight.dtype
        x_BPD = self.patch(patches_of(pixels.to(weights), self.patch_size))
        first_B1D = self.class_token.to(x_BPD.dtype).expand(len(x_BPD), 1, -1)
        x_BTD = torch.cat((first_B1D, x_BPD), dim=1) + self.positions.to(x_BPD.dtype)
        for block in self.blocks:
            x_BTD = self.blocks.run(block, x_BTD)
        return Hidden(self.norm(x_BTD[:, 0]))


def patches_of(pixels: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Cut images, (B, C, pixels, pixels), into rows of patches, (B, A x A, C x S x S)."""
    cut = pixels.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
