"""Open-Sora 2.0 (Peng et al. 2025, arXiv 2503.09642): its published files and the Backbone over them."""
