"""Published benchmarks: readers of their official files, what is asked, and the figures.

`files` and the readers (`coco`, `entity`, `refer`, `reasonseg`, `karpathy`, `voc`, `composed_files`) know data alone.
`subject` is what a model must answer and how any interface answers it, `find`, `family` and `read` how released
checkpoints of FIND, of X-Decoder and SEEM, and of READ do, `queries` how BLIP-2 does; `parts` are segmenters and
detectors by themselves, and `opening` chooses among all of these. `grounding`, `interactive`, `retrieval`, `composed`
and `generic` are the benchmarks; `run` measures one of them, resumable; `figures` are the published ones.
"""

from .run import Benchmark, Run
from .subject import Subject, subject_of, subjects_of

__all__ = ["Benchmark", "Run", "Subject", "subject_of", "subjects_of"]
