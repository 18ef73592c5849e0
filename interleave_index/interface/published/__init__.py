"""FIND as it was published: its checkpoints, its wrapper, and the interface that an index sees.

`sizes` and `network` are the model, `keys` and `importing` turn a released file into a folder, `text` is the language
side, `view` brings photos in and masks out, `segmentation` and `retrieval` are the answers, `wrapper` joins them, and
`index` is the `Interface` of an index. docs/published-find.md says what is decided and what is replayed.
"""
