"""A Triton kernel whose threads move blocks over the link themselves.

One end is pinned host memory, which a GPU's threads read and write like their own. Small pieces
cost no call each, only the bytes; but multiprocessors are taken from the model for the time.
"""

import triton
import triton.language as tl


@triton.jit
def move_blocks(
    source,
    target,
    blocks,
    num_blocks,
    num_parts,
    block_words,
    source_part_stride,
    target_part_stride,
    TILE: tl.constexpr,
):
    """Move block blocks[0, i] of the source to blocks[1, i] of the target, all parts of it.

    Pools are [parts, blocks, words]; strides count words. Programs take tiles of a block's part
    turn about, however many programs there are.
    """
    num_tiles = (block_words + TILE - 1) // TILE
    num_moves = num_parts * num_blocks * num_tiles
    for move in range(tl.program_id(0), num_moves, tl.num_programs(0)):
        index = (move // num_tiles) % num_blocks
        part = (move // num_tiles // num_blocks).to(tl.int64)  # a pool has more words than int32
        words = (move % num_tiles) * TILE + tl.arange(0, TILE)
        is_word = words < block_words
        source_block = tl.load(blocks + index)
        target_block = tl.load(blocks + num_blocks + index)
        moved = tl.load(
            source + part * source_part_stride + source_block * block_words + words, mask=is_word
        )
        tl.store(
            target + part * target_part_stride + target_block * block_words + words,
            moved,
            mask=is_word,
        )
