"""Open-Sora-Plan 1.2.0 (PKU and Tuzhan, 2024, arXiv 2412.00131): its autoencoder and its adapter."""
