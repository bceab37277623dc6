"""What an edit achieved, measured on clips whose truth is known, by measures that know nothing of the model."""
