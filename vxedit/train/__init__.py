"""How the embedded model is made: its data, tokenizer, losses and loops. Not needed to use vxedit."""
