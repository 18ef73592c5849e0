"""The recipe of find-mini: photo packs and cached teachers in, a bundle out, stage after stage."""
