"""Vision backbones and towers: pixels to feature maps."""
