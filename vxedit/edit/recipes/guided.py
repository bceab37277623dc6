"""The published recipes that move an object by gradients of energies on attention."""

from __future__ import annotations

from vxedit.edit.recipes import layout_guidance, self_guidance, x_attention
from vxedit.edit.recipes.published import Published

RECIPES: tuple[Published, ...] = (x_attention.RECIPE, layout_guidance.RECIPE, self_guidance.RECIPE)
