"""Measures an interface on photo packs: retrieval, interleaved retrieval, grounding, proposals, labels, absence."""
