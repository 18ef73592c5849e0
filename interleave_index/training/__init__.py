"""Training: how a FIND interface learns, for the bundled model and on COCO.

Shared by both recipes: `examples` (an image with all that is learned from it, and the prompts of a batch), `matcher`,
`losses` and `task_losses`, `distributed` (several processes), `loop` (steps, schedule by the clock, checkpoints),
`settings` (a recipe's YAML file), `data` (which photos may be trained on), `logistic` and `curves` (what turns scores
into chances). A recipe is a package with its settings file: `find_mini` trains the bundled model on photo
packs, `coco` an interface over any pair of frozen models by the published recipe.
"""
