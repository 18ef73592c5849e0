"""Colours of entities differ for usual and for colour-blind eyes, by the measures of the literature."""

import numpy as np
import pytest

from interleave_index.export.colours import PALETTE

# What is seen with a kind of colour blindness, on linear RGB (Machado, Oliveira, Fernandes 2009, severity 1).
SEEN = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = (0.95047, 1.0, 1.08883)


def lab(colours, seen):
    """CIE L*a*b* (D65) of sRGB colours, as they are seen."""
    values = np.asarray(colours, float) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.asarray(seen).T, 0, 1) @ np.asarray(TO_XYZ).T / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize(
    ("eyes", "least"), [("usual", 26), ("protanopia", 18), ("deuteranopia", 16), ("tritanopia", 16)]
)
def test_twelve_colours_are_far_apart(eyes, least):
    """Distances are CIE76, of which 2.3 can just be told apart; the first seven alone come to 26, 20, 17 and 16."""
    seen = lab(PALETTE, SEEN[eyes])
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert len(PALETTE) == 12 and distances[np.triu_indices(len(PALETTE), 1)].min() >= least


def test_every_colour_shows_on_a_light_and_on_a_dark_ground():
    lightness = lab(PALETTE, SEEN["usual"])[:, 0]
    assert lightness.min() > 30 and lightness.max() < 95
