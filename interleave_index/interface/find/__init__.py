"""The FIND interface (find.md §5): one light transformer between frozen vision and language towers.

`module` is the network with the published parameter names, `variables` what takes part in a pass and who sees
whom, `sampler` the visual prompts, `tasks` the thin functions on top, `published` the translation of the published
input names. No files, no index, no queries of users here.
"""
