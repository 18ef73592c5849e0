"""The FIND interface (docs/find-interface.md): one light transformer between frozen vision and language towers.

`network` has the published parameter names, `prompts` lists what takes part in a pass and who sees whom, `prompter`
makes prompts of texts and `sampler` of masks, `tasks` asks a `model`, and `adapter` is what an index sees of one.
"""
