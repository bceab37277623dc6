"""The families of models that are known, each told by its files. Nothing here needs torch."""

from vxedit.backbones.families.unet3d import UNET3D
from vxedit.backbones.families.wan import WAN

FAMILIES = (UNET3D, WAN)
