"""FIND as it was published: its checkpoints, everything they can be asked, and the interface that an index sees.

`network` has the sizes, `keys` and `importing` turn a released file into a folder, `text` is the language side,
`preparation` brings photos in and masks out, `segmentation` is generic segmentation, `model` joins them, and
`interface` is the adapter of an index. docs/published-find.md lists what is decided and what is replayed.
"""
