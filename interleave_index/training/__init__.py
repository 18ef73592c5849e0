"""The training room: stages, data, losses and the loop, each apart.

A *stage* (`vision`, `interface`, `calibrate`) says what is trained on what; `loop` runs any of the first
two with checkpoints; `run` strings them together and writes the bundle that `interface.load` reads.
"""
