"""Training of a FIND interface on COCO's own files, over any frozen pair of vision and language models (find.md §7).

`settings` says what is trained on what, `data` draws samples, `prompting` turns them into prompts, `criterion` holds
the losses, `step` is one training step, `run` the schedule, checkpoints and processes. What is trained is
`interface.published.pair`.
"""
