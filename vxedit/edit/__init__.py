"""From an object, its place and a path to edited latents."""
