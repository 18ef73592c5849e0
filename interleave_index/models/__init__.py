"""Networks behind the seams of the interface: backbones, the pixel decoder, text towers.

They know tensors only: no files but their own weights, no queries, no index.
"""
