"""How much memory a model, a size and a length need, and which way of running them fits a device."""
