"""Which pixels of a photo answer a vector: patch grids and what is kept of them. Pure numpy, no models."""
