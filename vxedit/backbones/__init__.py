"""Text-to-video models behind one Protocol. Nothing outside this room knows which family a model is of."""
