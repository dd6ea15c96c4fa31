"""Regression backward loss."""

from __future__ import annotations

import torch


def regression(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Squared distance to the own old vector, `||z_i - o_i||^2`, mean over the batch.

    The baseline of Shen et al., "Towards Backward-Compatible Representation Learning", CVPR 2020, arXiv 2003.11942.

    Args:
        new: `(batch, dim)` unit vectors z.
        old: `(batch, dim)` old unit vectors o of the same images.
    """
    return (new - old).square().sum(dim=1).mean()
