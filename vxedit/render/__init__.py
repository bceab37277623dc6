"""Draws clips whose truth is known: objects over moving backgrounds, with captions, boxes and masks."""
