"""From a real clip's latents to a trajectory that regenerates them."""
