"""Generic captions and drawn pictures, which mean nothing in particular: scores are centred by their mean.

The captions name things that photos in general show, put together from lists of our own so that they cover many
subjects. The pictures are drawn: they stand in for photographs where a model comes without a bank of them.
"""

from __future__ import annotations

import numpy as np

from ..records import RGB, Size


def _names(text: str) -> list[str]:
    """Names that stand in a text, separated by commas."""
    return [" ".join(name.split()) for name in text.split(",")]


PEOPLE = _names("""
    a man, a woman, a child, two people, a group of friends, a crowd, an old man, a baby
""")
DOING = _names("""
    sitting on a bench, walking down a street, playing a game, talking, holding something, smiling,
    standing in a room, running outside, at work, on holiday
""")
ANIMALS = _names("""
    a dog, a cat, a horse, a bird, a cow, a sheep, an elephant, a fish, an insect, a bear
""")
WHERE = _names("""
    in the grass, indoors, near the water, in a field, on the floor, in the snow
""")
THINGS = _names("""
    a car, a bus, a train, an airplane, a boat, a bicycle, a motorcycle, a truck, a chair, a table, a bed, a couch,
    a lamp, a clock, a book, a laptop, a phone, a camera, a guitar, a piano, a cup, a bottle, a plate of food,
    a pizza, a cake, a bowl of fruit, an apple, a sandwich, a knife, a spoon, a flower, a tree, a plant in a pot,
    a house, a tower, a bridge, a church, a street sign, a statue, a painting, a ball, a kite, an umbrella, a bag,
    a hat, a shoe, a dress, a coat, a pair of glasses, a toy, a machine, a tool, a box, a door, a window, a mirror,
    a sink, a toilet, a rock, a wheel
""")
SCENES = _names("""
    a beach, a mountain, a forest, a river, a lake, the sea, a city at night, a busy street, a park, a kitchen,
    a bathroom, a living room, an office, a restaurant, a shop, a market, a stadium, a desert, a snowy hill,
    a garden, a farm, a road through the country, the sky with clouds, a sunset, a wall, an empty room, a pattern,
    a drawing, a black and white photo, a close up of something small
""")


def generic_captions() -> list[str]:
    """Some two hundred and fifty captions, lower case, no two alike."""
    people = [f"{who} {what}" for who in PEOPLE for what in DOING]
    animals = [f"{which} {where}" for which in ANIMALS for where in WHERE]
    things = [*THINGS, *(f"{thing} on a table" for thing in THINGS[:12])]
    scenes = [*SCENES, *(f"a photo of {scene}" for scene in SCENES[:10])]
    return list(dict.fromkeys([*people, *animals, *things, *scenes]))


def drawn_pictures(count: int, size: Size = (192, 256)) -> list[RGB]:
    """Pictures of coloured waves with a few discs on them, (H, W, 3) uint8, all different, the same every time.

    Args:
        size: (height, width).
    """
    pictures = []
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32) / max(size)
    for number in range(count):
        random = np.random.default_rng(number)
        waves = [np.sin(x * random.uniform(2, 60) + y * random.uniform(2, 60) + channel) for channel in range(3)]
        picture = (np.stack(waves, -1) * random.uniform(20, 120) + random.uniform(90, 160)).clip(0, 255)
        for _ in range(random.integers(1, 8)):
            distance = (x - random.uniform()) ** 2 + (y - random.uniform()) ** 2
            picture[distance < random.uniform(0.02, 0.2) ** 2] = random.integers(0, 255, 3)
        pictures.append(picture.astype(np.uint8))
    return pictures
