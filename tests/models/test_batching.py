"""Batch sizes found by trying."""

import pytest
import torch

from interleave_index.models.batching import Batcher, out_of_memory


def machine(capacity, sizes):
    """Work that takes so many items at a time and notes what it was given."""

    def work(items):
        sizes.append(len(items))
        if len(items) > capacity:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [item * 10 for item in items]

    return work


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost():
    sizes: list[int] = []
    batcher = Batcher(64, 512)
    assert batcher.run(list(range(50)), machine(7, sizes)) == [item * 10 for item in range(50)]
    assert sizes[:4] == [50, 25, 12, 6] and set(sizes[4:]) <= {6, 2}
    assert batcher.size == 6


def test_the_size_that_worked_is_kept_and_what_did_not_fit_is_never_tried_again():
    sizes: list[int] = []
    batcher = Batcher(16, 512)
    for _ in range(6):
        batcher.run(list(range(40)), machine(8, sizes))
    assert sizes.count(16) == 1 and max(sizes[1:]) == 8


def test_while_all_goes_well_batches_grow_up_to_the_most():
    sizes: list[int] = []
    Batcher(2, 8, patience=2).run(list(range(60)), machine(100, sizes))
    assert sizes[:5] == [2, 2, 4, 4, 8] and max(sizes) == 8


def test_one_item_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Batcher(4, 8).run([1, 2, 3], machine(0, []))


def test_other_errors_pass_and_no_items_are_no_work():
    def broken(items):
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        Batcher(4, 8).run([1, 2], broken)
    assert Batcher(4, 8).run([], broken) == []


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
        (OSError("out of memory"), False),
    ],
)
def test_errors_of_every_device_are_told_apart(trouble, expected):
    assert out_of_memory(trouble) is expected
