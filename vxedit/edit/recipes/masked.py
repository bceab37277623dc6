"""The published recipes that edit attention without gradients."""

from __future__ import annotations

from vxedit.edit.recipes import freetraj, peekaboo, trailblazer
from vxedit.edit.recipes.published import Published

RECIPES: tuple[Published, ...] = (peekaboo.RECIPE, trailblazer.RECIPE, freetraj.RECIPE)
