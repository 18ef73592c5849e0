"""Training of a FIND interface on COCO's own files, over any frozen pair of vision and language models (find.md §7).

`data` draws samples, `prompting` turns them into prompts, `network` is the trained module, `criterion` the losses,
`step` one training step, `loop` the schedule, checkpoints and processes, `run` puts them together.
"""
