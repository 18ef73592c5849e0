"""Published benchmarks: readers of their official files, what is asked, and the figures.

`files` and the readers (`coco`, `entity`, `refer`, `reasonseg`, `karpathy`, `voc`) know data alone; `subject` is what
a model must answer and how any interface answers it, `find` how released FIND checkpoints do, `read` how READ does;
`grounding`, `interactive`, `retrieval` and `generic` are the benchmarks; `run` measures one of them, resumable;
`figures` are the published ones.
"""

from .run import Benchmark, Run
from .subject import Subject, subject_of, subjects_of

__all__ = ["Benchmark", "Run", "Subject", "subject_of", "subjects_of"]
