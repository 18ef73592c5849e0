"""READ's own recipe: a language model that learns by LoRA to say [SEG], and SAM's decoder to follow it.

`sources` reads what is asked of photos and `wordings` words it, `lora` says what learns, `step` has the losses, `run`
the loop.
"""
