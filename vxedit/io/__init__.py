"""Files in and out: reading and writing clips, fitting their size, pictures of them, prompts and records."""
