"""Measures a model and the edits made with it, on rendered clips whose truth is known and whose seeds training never
saw."""
