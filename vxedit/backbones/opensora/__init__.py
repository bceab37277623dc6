"""Open-Sora 1.2: the STDiT3 network, its two-stage autoencoder, and the backbone over both."""
