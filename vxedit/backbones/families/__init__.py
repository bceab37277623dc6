"""The families of models that are known, each told by its files. Nothing here needs torch."""

from vxedit.backbones.families.allegro import ALLEGRO
from vxedit.backbones.families.animatediff import ANIMATEDIFF
from vxedit.backbones.families.cogvideox import COGVIDEOX
from vxedit.backbones.families.latte import LATTE
from vxedit.backbones.families.ltx import LTX
from vxedit.backbones.families.opensora import OPENSORA
from vxedit.backbones.families.opensora2 import OPENSORA2
from vxedit.backbones.families.opensora_plan import OPENSORA_PLAN
from vxedit.backbones.families.unet3d import UNET3D
from vxedit.backbones.families.wan import WAN

FAMILIES = (UNET3D, WAN, OPENSORA, ALLEGRO, *OPENSORA_PLAN, OPENSORA2, LATTE, *ANIMATEDIFF, LTX, COGVIDEOX)
