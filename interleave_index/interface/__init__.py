"""What turns photos and queries into one space.

`protocol` is the seam to everything above, `registry` finds, describes and loads models by name, `kinds` is the table
of their kinds, `find` is the FIND network and its tasks, `find_mini` the bundled model, `published` FIND's released
checkpoints, `dual` dual encoders of a hub with regions and masks, `points` grounding by similarity as points, `read`
READ, `toy` a weightless stand-in for tests.
"""
