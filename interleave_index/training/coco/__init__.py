"""The recipe of COCO: a FIND interface on COCO's own files, over any frozen pair of vision and language models.

`settings` and `coco.yaml` set what is trained on what, `data` draws samples, `step` is one training step, `run`
the schedule, checkpoints and processes. What is trained is `interface.published.pair`.
"""
