"""Triton kernels of paged attention: they read K and V where these lie and gather nothing.

A kernel is told strides, so that both layouts of a pool are the same to it. All numbers of a step
(block tables, lengths, tiles) come from one int64 buffer. Whoever launches is `kernel_attention`.

Exponents are of two: `SCALE` brings the factor log2(e) along.
"""

import triton
import triton.language as tl

# Triton's interpreter keeps bfloat16 as integers, and multiplies these.
WIDENS = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def _scores(queries, keys, USES_DOT: tl.constexpr, SCALE: tl.constexpr):
    """queries [m, dim], keys [dim, n] → [m, n]."""
    return _product(queries, keys, USES_DOT) * SCALE


@triton.jit
def _weighted(weights, values, USES_DOT: tl.constexpr):
    """weights [m, n], values [n, dim] → [m, dim]."""
    return _product(weights.to(values.dtype), values, USES_DOT)


@triton.jit
def _product(left, right, USES_DOT: tl.constexpr):
    """Sums are float32, or float64 where the factors are, which `dot` does not know."""
    if USES_DOT:
        if WIDENS:
            left, right = left.to(tl.float32), right.to(tl.float32)
        return tl.dot(left, right, input_precision="ieee")
    else:  # noqa: RET505  # without it the compiler looks at both returns
        return tl.sum(left[:, :, None] * right[None, :, :], 1)


@triton.jit
def _load_tile(
    kv,
    table,
    tokens,
    is_token,
    kv_head,
    part_stride,
    block_stride,
    token_stride,
    head_stride,
    BLOCK_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    DIM: tl.constexpr,
):
    """K [dim, tokens] and V [tokens, dim] of these positions of a sequence."""
    dims = tl.arange(0, DIM)
    is_dim = dims < HEAD_DIM
    blocks = tl.load(table + tokens // BLOCK_SIZE, mask=is_token, other=0)
    offsets = blocks * block_stride + (tokens % BLOCK_SIZE) * token_stride + kv_head * head_stride
    keys = tl.load(
        kv + offsets[None, :] + dims[:, None],
        mask=is_dim[:, None] & is_token[None, :],
        other=0.0,
    )
    values = tl.load(
        kv + part_stride + offsets[:, None] + dims[None, :],
        mask=is_token[:, None] & is_dim[None, :],
        other=0.0,
    )
    return keys, values


@triton.jit
def decode_parts(
    queries,
    kv,
    lengths,
    starts,
    tables,
    outputs,
    parts,
    sums,
    query_row_stride,
    query_head_stride,
    part_stride,
    block_stride,
    token_stride,
    head_stride,
    SCALE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    DIM: tl.constexpr,  # the same, filled up to a power of two
    HEADS_PER_KV: tl.constexpr,
    GROUP: tl.constexpr,  # the same, filled up
    NUM_SPLITS: tl.constexpr,
    TILE: tl.constexpr,  # tokens read at once
    USES_DOT: tl.constexpr,
):
    """Attend with one row's heads of one KV head to a part of its sequence.

    A part is a number of whole tiles; those behind a short sequence's end are empty. With more
    than one part, each leaves its sum of weighted values in `parts` and, in `sums`, the largest
    score and the sum of weights. A length of 0, a row that fills up a graph's batch, gives zeros.
    """
    row, kv_head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    num_heads = tl.num_programs(1) * HEADS_PER_KV
    length = tl.load(lengths + row)
    table = tables + tl.load(starts + row)
    tokens_per_part = tl.cdiv(tl.cdiv(length, TILE), NUM_SPLITS) * TILE
    begin = split * tokens_per_part
    end = tl.minimum(begin + tokens_per_part, length)

    in_group = tl.arange(0, GROUP)
    dims = tl.arange(0, DIM)
    is_head = in_group < HEADS_PER_KV
    is_value = is_head[:, None] & (dims < HEAD_DIM)[None, :]
    heads = kv_head * HEADS_PER_KV + in_group
    query = tl.load(
        queries + row * query_row_stride + heads[:, None] * query_head_stride + dims[None, :],
        mask=is_value,
        other=0.0,
    )
    number = parts.dtype.element_ty
    largest = tl.full([GROUP], float("-inf"), number)
    total = tl.zeros([GROUP], number)
    weighted = tl.zeros([GROUP, DIM], number)
    for first in range(begin, end, TILE):
        tokens = first + tl.arange(0, TILE)
        is_token = tokens < end
        keys, values = _load_tile(
            kv, table, tokens, is_token, kv_head,
            part_stride, block_stride, token_stride, head_stride,
            BLOCK_SIZE, HEAD_DIM, DIM,
        )  # fmt: skip
        scores = _scores(query, keys, USES_DOT, SCALE)
        scores = tl.where(is_token[None, :], scores, float("-inf"))
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - new_largest[:, None])
        fading = tl.exp2(largest - new_largest)
        total = total * fading + tl.sum(weights, 1)
        weighted = weighted * fading[:, None] + _weighted(weights, values, USES_DOT)
        largest = new_largest

    places = row * num_heads + heads
    if NUM_SPLITS == 1:
        average = weighted / tl.where(total > 0, total, 1.0)[:, None]
        targets = outputs + places[:, None] * HEAD_DIM + dims[None, :]
        tl.store(targets, average.to(outputs.dtype.element_ty), mask=is_value)
    else:
        places = places * NUM_SPLITS + split
        tl.store(parts + places[:, None] * HEAD_DIM + dims[None, :], weighted, mask=is_value)
        tl.store(sums + places * 2, largest, mask=is_head)
        tl.store(sums + places * 2 + 1, total, mask=is_head)


@triton.jit
def combine_parts(
    parts,
    sums,
    outputs,
    HEAD_DIM: tl.constexpr,
    DIM: tl.constexpr,
    NUM_SPLITS: tl.constexpr,
):
    """Put one head's parts together: [rows * heads, splits, dim] → [rows * heads, dim]."""
    place = tl.program_id(0)
    splits = tl.arange(0, NUM_SPLITS)
    dims = tl.arange(0, DIM)
    is_dim = dims < HEAD_DIM
    largest = tl.load(sums + (place * NUM_SPLITS + splits) * 2)
    total = tl.load(sums + (place * NUM_SPLITS + splits) * 2 + 1)
    weighted = tl.load(
        parts + (place * NUM_SPLITS + splits)[:, None] * HEAD_DIM + dims[None, :],
        mask=is_dim[None, :],
        other=0.0,
    )
    # An empty part, with -inf for its largest, weighs nothing, also where all of them are empty.
    share = tl.exp2(largest - tl.maximum(tl.max(largest, 0), -1e30))
    whole = tl.sum(total * share, 0)
    average = tl.sum(weighted * share[:, None], 0) / tl.where(whole > 0, whole, 1.0)
    targets = outputs + place * HEAD_DIM + dims
    tl.store(targets, average.to(outputs.dtype.element_ty), mask=is_dim)


@triton.jit
def prefill_tiles(
    queries,
    kv,
    tiles,
    tables,
    outputs,
    query_row_stride,
    query_head_stride,
    part_stride,
    block_stride,
    token_stride,
    head_stride,
    SCALE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    DIM: tl.constexpr,
    HEADS_PER_KV: tl.constexpr,
    ROWS: tl.constexpr,  # of one tile, at most
    GROUP: tl.constexpr,  # ROWS * HEADS_PER_KV, filled up
    TILE: tl.constexpr,
    USES_DOT: tl.constexpr,
):
    """Attend with a tile of one chunk's rows to all up to themselves: their prefix, and the chunk.

    tiles: [num_tiles, 4]: first row, rows, first row's position, where its table starts.
    """
    tile, kv_head = tl.program_id(0), tl.program_id(1)
    num_heads = tl.num_programs(1) * HEADS_PER_KV
    first_row = tl.load(tiles + tile * 4)
    num_rows = tl.load(tiles + tile * 4 + 1)
    position = tl.load(tiles + tile * 4 + 2)
    table = tables + tl.load(tiles + tile * 4 + 3)

    in_group = tl.arange(0, GROUP)
    dims = tl.arange(0, DIM)
    rows = in_group // HEADS_PER_KV
    heads = kv_head * HEADS_PER_KV + in_group % HEADS_PER_KV
    is_value = ((rows < num_rows) & (rows < ROWS))[:, None] & (dims < HEAD_DIM)[None, :]
    query = tl.load(
        queries
        + (first_row + rows)[:, None] * query_row_stride
        + heads[:, None] * query_head_stride
        + dims[None, :],
        mask=is_value,
        other=0.0,
    )
    positions = position + rows
    number = tl.float32 if USES_DOT else tl.float64
    largest = tl.full([GROUP], float("-inf"), number)
    total = tl.zeros([GROUP], number)
    weighted = tl.zeros([GROUP, DIM], number)
    end = position + num_rows
    for first in range(0, end, TILE):
        tokens = first + tl.arange(0, TILE)
        is_token = tokens < end
        keys, values = _load_tile(
            kv, table, tokens, is_token, kv_head,
            part_stride, block_stride, token_stride, head_stride,
            BLOCK_SIZE, HEAD_DIM, DIM,
        )  # fmt: skip
        is_before = tokens[None, :] <= positions[:, None]
        scores = _scores(query, keys, USES_DOT, SCALE)
        scores = tl.where(is_before & is_token[None, :], scores, float("-inf"))
        # Position 0 is in the first tile, so that from there on nobody's largest is -inf.
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - new_largest[:, None])
        fading = tl.exp2(largest - new_largest)
        total = total * fading + tl.sum(weights, 1)
        weighted = weighted * fading[:, None] + _weighted(weights, values, USES_DOT)
        largest = new_largest
    places = (first_row + rows) * num_heads + heads
    targets = outputs + places[:, None] * HEAD_DIM + dims[None, :]
    average = weighted / total[:, None]
    tl.store(targets, average.to(outputs.dtype.element_ty), mask=is_value)
