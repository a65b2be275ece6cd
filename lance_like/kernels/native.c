/* The kernels of plain.py, compiled: what is done to every row of a page, in one pass and without Python's lock.
   Those of texts of frequent symbols are in symbols.c, of whole arrays in arrays.c, of vectors in vectors.c. */

#include "common.h"

/* Words of 32 and 64 bits are compared in two thirds of the time where a comparison gives a bit for each. */
#if defined(BY_PROCESSOR) && __GNUC__ >= 12
#define COMPARING __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"))) static void
#else
#define COMPARING LOOP
#endif

/* Every pair of a stored and a wanted integer, both unsigned; what does not fit is cut off. */
#define WITH_EVERY(DO, W) DO(W, u8) DO(W, u16) DO(W, u32) DO(W, u64)
#define EVERY_PAIR(DO) WITH_EVERY(DO, u8) WITH_EVERY(DO, u16) WITH_EVERY(DO, u32) WITH_EVERY(DO, u64)
#define PAIR(stored, wanted) ((stored) << 4 | (wanted))

/* ---- bit-packed tiles: strip s of a tile has the bits from s * width on, of all lanes ---- */

/* Fill `to` with EACH, an expression of the difference `bits` of a row. */
#define OVER_WORDS(W, EACH)                                                                                            \
    const int word_bits = 8 * sizeof(W);                                                                               \
    const W mask = (W)((W)~(W)0 >> (word_bits - width));                                                               \
    for (size_t tile = 0; tile < tiles; tile++, words += (size_t)width * lanes)                                        \
        for (int strip = 0; strip < word_bits; strip++, to += lanes) {                                                 \
            const int shift = strip * width % word_bits, left = word_bits - shift;                                     \
            const W *low = words + (size_t)(strip * width / word_bits) * lanes, *high = low + lanes;                   \
            if (left >= width)                                                                                         \
                for (size_t lane = 0; lane < lanes; lane++) {                                                          \
                    const W bits = (W)(low[lane] >> shift) & mask;                                                     \
                    to[lane] = EACH;                                                                                   \
                }                                                                                                      \
            else                                                                                                       \
                for (size_t lane = 0; lane < lanes; lane++) {                                                          \
                    const W bits = (W)((W)(low[lane] >> shift) | (W)(high[lane] << left)) & mask;                      \
                    to[lane] = EACH;                                                                                   \
                }                                                                                                      \
        }
/* The same of words of 8 and 16 bits, which are not shifted as such: first some of them as one word of 64. */
#define CHUNK_NBYTES 512
#define REPEATED(W, word) ((uint64_t)(word) * (~(uint64_t)0 / (W)~(W)0))
#define OVER_SHORT_WORDS(W, EACH)                                                                                      \
    const int word_bits = 8 * sizeof(W), each = 8 / sizeof(W);                                                         \
    const W every = (W)~(W)0, mask = (W)(every >> (word_bits - width));                                                \
    for (size_t tile = 0; tile < tiles; tile++, words += (size_t)width * lanes)                                        \
        for (int strip = 0; strip < word_bits; strip++, to += lanes) {                                                 \
            const int shift = strip * width % word_bits, left = word_bits - shift;                                     \
            const W of_low = (W)(every >> shift) & mask, of_high = left < width ? (W)(every << left) & mask : 0;       \
            const W *low = words + (size_t)(strip * width / word_bits) * lanes, *high = of_high ? low + lanes : low;   \
            for (size_t from = 0; from < lanes; from += CHUNK_NBYTES / sizeof(W)) {                                    \
                const size_t rest = lanes - from, some = rest * sizeof(W) < CHUNK_NBYTES ? rest : CHUNK_NBYTES / sizeof(W); \
                u64 chunk[CHUNK_NBYTES / 8];                                                                           \
                for (size_t at = 0; at < some / each; at++)                                                            \
                    chunk[at] = (((const u64 *)(low + from))[at] >> shift & REPEATED(W, of_low)) |                     \
                                (((const u64 *)(high + from))[at] << left & REPEATED(W, of_high));                     \
                W *differences = (W *)chunk;                                                                           \
                for (size_t at = some - some % each; at < some; at++)                                                  \
                    differences[at] = (W)((low[from + at] >> shift & of_low) | ((u32)high[from + at] << left & of_high)); \
                for (size_t lane = 0; lane < some; lane++) {                                                           \
                    const W bits = differences[lane];                                                                  \
                    (to + from)[lane] = EACH;                                                                          \
                }                                                                                                      \
            }                                                                                                          \
        }
#define OVER_u8 OVER_SHORT_WORDS
#define OVER_u16 OVER_SHORT_WORDS
#define OVER_u32 OVER_WORDS
#define OVER_u64 OVER_WORDS

#define UNPACK(W, T)                                                                                                   \
    LOOP unpack_##W##_##T(const W *words, size_t tiles, int width, size_t lanes, T base, T *restrict to) {             \
        OVER_##W(W, (T)((T)bits + base))                                                                               \
    }
EVERY_PAIR(UNPACK)

#define WITHIN(KIND, W)                                                                                                \
    KIND within_##W(const W *words, size_t tiles, int width, size_t lanes, W least, W span, u8 *restrict to) {         \
        OVER_##W(W, (W)(bits - least) <= span)                                                                         \
    }
WITHIN(LOOP, u8) WITHIN(LOOP, u16) WITHIN(COMPARING, u32) WITHIN(COMPARING, u64)

/* Processors divide 32 bits several times as fast as 64. */
static uint64_t quotient(uint64_t number, uint64_t by) {
    return (number | by) >> 32 ? number / by : (uint32_t)number / (uint32_t)by;
}

/* Of tiles of which so many rows in a row are wanted, all are unpacked first. */
#define MANY_OF(tile_rows) ((tile_rows) / 16 + 1)
#define LARGEST_SCRATCH (1 << 13)

/* Returns whether all rows are in the tiles. */
#define PICK(W, T)                                                                                                     \
    static int pick_##W##_##T(const W *words, size_t tiles, int width, size_t lanes, const i64 *rows, size_t count,    \
                              uint64_t skip, T base, T *restrict to) {                                                 \
        const int word_bits = 8 * sizeof(W);                                                                           \
        const W mask = (W)((W)~(W)0 >> (word_bits - width));                                                           \
        const size_t tile_rows = lanes * word_bits, many = MANY_OF(tile_rows);                                         \
        uint64_t scratch[LARGEST_SCRATCH * sizeof(T) / 8];                                                             \
        for (size_t at = 0; at < count; at++) {                                                                        \
            if (tile_rows <= LARGEST_SCRATCH && count - at >= many) {                                                  \
                const uint64_t tile = quotient(rows[at] + skip, tile_rows), first = tile * tile_rows - skip;           \
                if (tile < tiles && (uint64_t)rows[at + many - 1] - first < tile_rows) {                               \
                    unpack_##W##_##T(words + tile * width * lanes, 1, width, lanes, base, (T *)scratch);               \
                    for (; at < count && (uint64_t)rows[at] - first < tile_rows; at++)                                 \
                        to[at] = ((T *)scratch)[rows[at] - first];                                                     \
                    at--;                                                                                              \
                    continue;                                                                                          \
                }                                                                                                      \
            }                                                                                                          \
            const uint64_t row = rows[at] + skip, strips = quotient(row, lanes), lane = row - strips * lanes;                 \
            if (strips >= tiles * word_bits) return 0;                                                                 \
            const int bit = (int)(strips % word_bits) * width, shift = bit % word_bits;                                \
            const W *low = words + (strips / word_bits * width + bit / word_bits) * lanes + lane;                      \
            W bits = (W)(*low >> shift);                                                                               \
            if (shift + width > word_bits) bits |= (W)(low[lanes] << (word_bits - shift));                             \
            to[at] = (T)((T)(bits & mask) + base);                                                                     \
        }                                                                                                              \
        return 1;                                                                                                      \
    }
EVERY_PAIR(PICK)

/* The number of tiles; -1 where the words are none of whole tiles. */
static Py_ssize_t tiles_of(const Py_buffer *words, int width, Py_ssize_t lanes) {
    if (width < 1 || width > 8 * words->itemsize || lanes < 1 || lanes > PY_SSIZE_T_MAX / 4096) return -1;
    const Py_ssize_t nbytes = lanes * width * words->itemsize;
    return words->len % nbytes ? -1 : words->len / nbytes;
}

static int are_rows_of(Py_ssize_t tiles, const Py_buffer *words, Py_ssize_t lanes, Py_ssize_t rows) {
    return tiles >= 0 && rows % (lanes * 8 * words->itemsize) == 0 && rows / (lanes * 8 * words->itemsize) == tiles;
}

static PyObject *unpack(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    int width;
    Py_ssize_t lanes;
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "y*inKw*", &view[0], &width, &lanes, &base, &view[1])) return NULL;
    const Py_ssize_t tiles = tiles_of(&view[0], width, lanes);
    int fits = are_rows_of(tiles, &view[0], lanes, rows_of(&view[1]));
    const void *words = view[0].buf;
    void *out = view[1].buf;
#define CASE(W, T)                                                                                                     \
    case PAIR(sizeof(W), sizeof(T)):                                                                                   \
        unpack_##W##_##T(words, tiles, width, lanes, (T)base, out);                                                    \
        break;
    if (fits) RUN(view[1].len, switch (PAIR(view[0].itemsize, view[1].itemsize)) { EVERY_PAIR(CASE) default: fits = 0; });
#undef CASE
    return finished(view, 2, fits, "unpack: the words are not those of the rows");
}

static PyObject *within(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    int width;
    Py_ssize_t lanes;
    unsigned long long low, high;
    if (!PyArg_ParseTuple(args, "y*inKKw*", &view[0], &width, &lanes, &low, &high, &view[1])) return NULL;
    const Py_ssize_t tiles = tiles_of(&view[0], width, lanes);
    int fits = are_rows_of(tiles, &view[0], lanes, view[1].len);
    const void *words = view[0].buf;
    void *out = view[1].buf;
#define CASE(W)                                                                                                        \
    case sizeof(W):                                                                                                    \
        within_##W(words, tiles, width, lanes, (W)low, (W)(high - low), out);                                          \
        break;
    if (fits) RUN(view[1].len, switch (view[0].itemsize) { CASE(u8) CASE(u16) CASE(u32) CASE(u64) default: fits = 0; });
#undef CASE
    return finished(view, 2, fits, "within: the words are not those of the rows");
}

static PyObject *pick(PyObject *self, PyObject *args) {
    Py_buffer view[3];
    int width;
    Py_ssize_t lanes;
    unsigned long long skip, base;
    if (!PyArg_ParseTuple(args, "y*iny*KKw*", &view[0], &width, &lanes, &view[1], &skip, &base, &view[2])) return NULL;
    const Py_ssize_t tiles = tiles_of(&view[0], width, lanes), count = rows_of(&view[2]);
    int fits = tiles >= 0 && view[1].itemsize == 8 && view[1].len == 8 * count;
    const void *words = view[0].buf, *chosen = view[1].buf;
    void *out = view[2].buf;
#define CASE(W, T)                                                                                                     \
    case PAIR(sizeof(W), sizeof(T)):                                                                                   \
        fits = pick_##W##_##T(words, tiles, width, lanes, chosen, count, skip, (T)base, out);                                \
        break;
    if (fits) RUN(view[1].len, switch (PAIR(view[0].itemsize, view[2].itemsize)) { EVERY_PAIR(CASE) default: fits = 0; });
#undef CASE
    return finished(view, 3, fits, "pick: a row is in none of the tiles");
}

/* ---- integers of 1 to 7 bytes ---- */

#define WIDEN(W, T)                                                                                                    \
    LOOP widen_##W##_##T(const W *from, size_t rows, T base, T *restrict to) {                                         \
        for (size_t row = 0; row < rows; row++) to[row] = (T)((T)from[row] + base);                                    \
    }
EVERY_PAIR(WIDEN)

static uint64_t integer_at(const u8 *from, int stride) {
    uint64_t found = 0;
    memcpy(&found, from, stride);
    return found;
}

/* Overlapping loads of 8 bytes, masked; the last rows have no bytes behind them to load. */
#define STRIDE(T)                                                                                                      \
    LOOP stride_##T(const u8 *from, size_t rows, int stride, uint64_t base, T *restrict to) {                          \
        const uint64_t mask = ~(uint64_t)0 >> (64 - 8 * stride);                                                       \
        const size_t whole = rows * stride < 8 ? 0 : (rows * stride - 8) / stride + 1;                                 \
        for (size_t row = 0; row < whole; row++) to[row] = (T)((*(const u64 *)(from + row * stride) & mask) + base);   \
        for (size_t row = whole; row < rows; row++) to[row] = (T)(integer_at(from + row * stride, stride) + base);     \
    }
STRIDE(u8) STRIDE(u16) STRIDE(u32) STRIDE(u64)

static PyObject *widen(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    int stride;
    unsigned long long base;
    if (!PyArg_ParseTuple(args, "y*iKw*", &view[0], &stride, &base, &view[1])) return NULL;
    const size_t size = view[1].itemsize, rows = rows_of(&view[1]);
    int fits = stride >= 1 && stride <= 8 && (size_t)view[0].len / stride == rows && view[0].len % stride == 0;
    const void *from = view[0].buf;
    void *out = view[1].buf;
#define CASE(W, T)                                                                                                     \
    case PAIR(sizeof(W), sizeof(T)):                                                                                   \
        widen_##W##_##T(from, rows, (T)base, out);                                                                     \
        break;
#define CASE_STRIDE(T)                                                                                                 \
    case PAIR(3, sizeof(T)):                                                                                           \
    case PAIR(5, sizeof(T)):                                                                                           \
    case PAIR(6, sizeof(T)):                                                                                           \
    case PAIR(7, sizeof(T)):                                                                                           \
        stride_##T(from, rows, stride, base, out);                                                                     \
        break;
    if (fits) RUN(view[1].len, switch (PAIR(stride, size)) {
        EVERY_PAIR(CASE) CASE_STRIDE(u8) CASE_STRIDE(u16) CASE_STRIDE(u32) CASE_STRIDE(u64) default: fits = 0;
    });
#undef CASE
#undef CASE_STRIDE
    return finished(view, 2, fits, "widen: the bytes are not those of the rows");
}

/* ---- lines: blocks of 256 rows of residuals, each with its base and its slope behind it ---- */

#define BLOCK_ROWS 256
#define LINE_NBYTES 16

#define LINES(R, RESIDUAL)                                                                                             \
    LOOP lines_##R(const u8 *from, size_t rows, int stride, i64 *restrict to) {                                        \
        const uint64_t mask = stride ? ~(uint64_t)0 >> (64 - 8 * stride) : 0;                                          \
        for (size_t done = 0; done < rows; done += BLOCK_ROWS) {                                                       \
            const size_t some = rows - done < BLOCK_ROWS ? rows - done : BLOCK_ROWS;                                   \
            const u64 *line = (const u64 *)(from + some * stride);                                                     \
            const uint64_t base = line[0], slope = line[1];                                                            \
            (void)mask;                                                                                                \
            for (size_t row = 0; row < some; row++)                                                                    \
                to[done + row] = (int64_t)(base + (uint64_t)((int64_t)(slope * row) >> 8) + (RESIDUAL));               \
            from += some * stride + LINE_NBYTES;                                                                       \
        }                                                                                                              \
    }
LINES(none, 0)
LINES(u8, from[row])
LINES(u16, ((const u16 *)from)[row])
LINES(u32, ((const u32 *)from)[row])
/* Behind the last residual of a block there is always its line: 8 bytes can be loaded. */
LINES(other, *(const u64 *)(from + row * stride) & mask)

static PyObject *lines(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    int stride;
    if (!PyArg_ParseTuple(args, "y*iw*", &view[0], &stride, &view[1])) return NULL;
    const Py_ssize_t rows = rows_of(&view[1]), blocks = rows / BLOCK_ROWS + (rows % BLOCK_ROWS > 0);
    const int fits = stride >= 0 && stride <= 7 && view[1].itemsize == 8 && view[0].len >= rows * stride + blocks * LINE_NBYTES;
    const u8 *from = view[0].buf;
    void *out = view[1].buf;
    if (fits) RUN(view[1].len, switch (stride) {
        case 0: lines_none(from, rows, stride, out); break;
        case 1: lines_u8(from, rows, stride, out); break;
        case 2: lines_u16(from, rows, stride, out); break;
        case 4: lines_u32(from, rows, stride, out); break;
        default: lines_other(from, rows, stride, out);
    });
    return finished(view, 2, fits, "lines: the bytes are not those of the rows");
}

/* ---- runs: a bit for each row, one where the next value begins ---- */

/* In pairs of bits, then fours, then bytes, which a product adds up: not every processor counts bits itself. */
static inline size_t ones_in(uint64_t word) {
    word -= word >> 1 & 0x5555555555555555;
    word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
    return ((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56;
}

/* Returns whether there were values enough. */
#define SPREAD(T)                                                                                                      \
    static int spread_##T(const T *values, size_t count, const u8 *bits, size_t skip, size_t rows, T *restrict to) {   \
        size_t place = 0, row = 1;                                                                                     \
        if (rows && !count) return 0;                                                                                  \
        if (rows) to[0] = values[0];                                                                                   \
        while (row < rows) {                                                                                           \
            const size_t bit = skip + row, some = rows - row < 56 ? rows - row : 56;                                   \
            uint64_t word = integer_at(bits + bit / 8, (int)((bit % 8 + some + 7) / 8)) >> bit % 8;                    \
            word &= ~(uint64_t)0 >> (64 - some);                                                                       \
            const size_t ones = ones_in(word);                                                                         \
            if (place + ones >= count) return 0;                                                                       \
            if (!ones)                                                                                                 \
                for (size_t at = 0; at < some; at++) to[row + at] = values[place];                                     \
            else                                                                                                       \
                for (size_t at = 0; at < some; at++, word >>= 1) to[row + at] = values[place += word & 1];             \
            row += some;                                                                                               \
        }                                                                                                              \
        return 1;                                                                                                      \
    }
SPREAD(u8) SPREAD(u16) SPREAD(u32) SPREAD(u64)

static PyObject *spread(PyObject *self, PyObject *args) {
    Py_buffer view[3];
    Py_ssize_t skip;
    if (!PyArg_ParseTuple(args, "y*y*nw*", &view[0], &view[1], &skip, &view[2])) return NULL;
    const Py_ssize_t size = view[2].itemsize, rows = rows_of(&view[2]), count = rows_of(&view[0]);
    const Py_ssize_t bits_there = view[1].len > PY_SSIZE_T_MAX / 8 ? PY_SSIZE_T_MAX : 8 * view[1].len;
    int fits = view[0].itemsize == size && skip >= 0 && rows <= bits_there && skip <= bits_there - rows;
    const void *values = view[0].buf, *bits = view[1].buf;
    void *out = view[2].buf;
#define CASE(T)                                                                                                        \
    case sizeof(T):                                                                                                    \
        fits = spread_##T(values, count, bits, skip, rows, out);                                                       \
        break;
    if (fits) RUN(view[2].len, switch (size) { CASE(u8) CASE(u16) CASE(u32) CASE(u64) default: fits = 0; });
#undef CASE
    return finished(view, 3, fits, "spread: there are fewer values or bits than rows need");
}

/* ---- texts of few symbols: 1, 2 or 4 bits each, the first in the lowest bits ---- */

/* Of few bytes two stores that overlap take less than a call. */
static inline void copy(u8 *to, const u8 *from, size_t nbytes) {
    if (nbytes < 8 || nbytes > 16) {
        memcpy(to, from, nbytes);
        return;
    }
    *(u64 *)to = *(const u64 *)from;
    *(u64 *)(to + nbytes - 8) = *(const u64 *)(from + nbytes - 8);
}

/* cell: of `width` bytes, of which those at `places`, `length` of them, are spelled. rows: which cells; NULL: all. */
static void spell_rows(const u8 *codes, size_t nbytes, int bits, const u8 *symbols, size_t skip, const u8 *cell, size_t width,
                       const u32 *places, size_t length, const i64 *rows, size_t count, u8 *restrict to) {
    const size_t mask = (1u << bits) - 1, at_once = 56 / bits;
    for (size_t at = 0; at < count; at++, to += width) {
        size_t bit = (skip + (rows ? (size_t)rows[at] : at) * length) * bits;
        copy(to, cell, width);
        for (size_t done = 0; done < length; done += at_once, bit += at_once * bits) {
            const size_t left = nbytes - bit / 8, some = length - done < at_once ? length - done : at_once;
            uint64_t word = left >= 8 ? *(const u64 *)(codes + bit / 8) : integer_at(codes + bit / 8, (int)left);
            word >>= bit % 8;
            for (size_t place = 0; place < some; place++, word >>= bits) to[places[done + place]] = symbols[word & mask];
        }
    }
}

static PyObject *spell(PyObject *self, PyObject *args) {
    Py_buffer view[6];
    int bits;
    Py_ssize_t skip;
    PyObject *chosen;
    if (!PyArg_ParseTuple(args, "y*iy*ny*y*Ow*", &view[0], &bits, &view[1], &skip, &view[2], &view[3], &chosen, &view[4]))
        return NULL;
    const int all = chosen == Py_None;
    if (!all && PyObject_GetBuffer(chosen, &view[5], PyBUF_C_CONTIGUOUS) < 0) {
        finished(view, 5, 1, NULL);
        return NULL;
    }
    const Py_ssize_t width = view[2].len, length = rows_of(&view[3]);
    int fits = (bits == 1 || bits == 2 || bits == 4) && view[1].len == 1 << bits && view[3].itemsize == 4 && length > 0 &&
               width > 0 && skip >= 0 && view[4].len % width == 0 && view[0].len < PY_SSIZE_T_MAX / 8;
    const Py_ssize_t count = fits ? view[4].len / width : 0, codes = fits ? view[0].len * 8 / bits : 0;
    const Py_ssize_t cells = fits && skip <= codes ? (codes - skip) / length : 0;
    const u32 *places = view[3].buf;
    const i64 *rows = all ? NULL : view[5].buf;
    for (Py_ssize_t at = 0; fits && at < length; at++) fits = places[at] < width;
    if (all)
        fits = fits && count <= cells;
    else
        fits = fits && view[5].itemsize == 8 && view[5].len == 8 * count;
    for (Py_ssize_t at = 0; fits && !all && at < count; at++) fits = rows[at] >= 0 && rows[at] < cells;
    if (fits)
        RUN(view[4].len, spell_rows(view[0].buf, view[0].len, bits, view[1].buf, skip, view[2].buf, width, places, length,
                                    rows, count, view[4].buf));
    return finished(view, all ? 5 : 6, fits, "spell: a row has no codes");
}

/* ---- blocks of cells: the lengths of `rows` cells, a plane for each of their bytes, and the cells ---- */

/* Returns whether the lengths of each block are those of what follows them. */
static int unblock_all(const u8 *from, size_t nbytes, const i64 *sizes, size_t blocks, size_t rows, int stride,
                       i64 *restrict offsets, u8 *restrict cells) {
    const size_t head = rows * stride;
    const i64 first = *offsets++;
    size_t offset = 0;
    for (size_t block = 0; block < blocks; block++) {
        const size_t size = sizes[block], begin = offset;
        if (sizes[block] < 0 || size > nbytes || size < head) return 0;
        for (size_t row = 0; row < rows; row++) {
            size_t length = from[row];
            for (int plane = 1; plane < stride; plane++) length |= (size_t)from[plane * rows + row] << 8 * plane;
            *offsets++ = first + (i64)(offset += length);
        }
        if (offset - begin != size - head) return 0;
        memcpy(cells + begin, from + head, size - head);
        from += size;
        nbytes -= size;
    }
    return nbytes == 0;
}

static PyObject *unblock(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    Py_ssize_t rows;
    int stride;
    if (!PyArg_ParseTuple(args, "y*y*niw*w*", &view[0], &view[1], &rows, &stride, &view[2], &view[3])) return NULL;
    const Py_ssize_t blocks = rows_of(&view[1]), count = rows_of(&view[2]) - 1;
    int fits = view[1].itemsize == 8 && view[2].itemsize == 8 && stride >= 1 && stride <= 4 && rows >= 1 && count >= 0 &&
               count % rows == 0 && count / rows == blocks && count <= view[0].len / stride &&
               view[3].len == view[0].len - count * stride;
    const void *data = view[0].buf, *sizes = view[1].buf;
    void *offsets = view[2].buf, *cells = view[3].buf;
    if (fits) RUN(view[0].len, fits = unblock_all(data, view[0].len, sizes, blocks, rows, stride, offsets, cells));
    return finished(view, 4, fits, "unblock: the lengths of a block do not add up to its cells");
}

/* ---- decimal floats ---- */

LOOP divide_f64(const i64 *numbers, size_t rows, double power, f64 *restrict to) {
    for (size_t row = 0; row < rows; row++) to[row] = (double)numbers[row] / power;
}
LOOP divide_f32(const i64 *numbers, size_t rows, double power, f32 *restrict to) {
    for (size_t row = 0; row < rows; row++) to[row] = (float)((double)numbers[row] / power);
}

static PyObject *divide(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    double power;
    if (!PyArg_ParseTuple(args, "y*dw*", &view[0], &power, &view[1])) return NULL;
    const Py_ssize_t size = view[1].itemsize, rows = rows_of(&view[1]);
    const int fits = view[0].itemsize == 8 && view[0].len == 8 * rows && (size == 8 || size == 4);
    const void *numbers = view[0].buf;
    void *out = view[1].buf;
    if (fits) RUN(view[1].len, if (size == 8) divide_f64(numbers, rows, power, out); else divide_f32(numbers, rows, power, out));
    return finished(view, 2, fits, "divide: there are not as many numbers as rows");
}

static PyMethodDef methods[] = {
    {"unpack", unpack, METH_VARARGS, NULL}, {"within", within, METH_VARARGS, NULL}, {"pick", pick, METH_VARARGS, NULL},
    {"widen", widen, METH_VARARGS, NULL},   {"lines", lines, METH_VARARGS, NULL},   {"spread", spread, METH_VARARGS, NULL},
    {"divide", divide, METH_VARARGS, NULL}, {"spell", spell, METH_VARARGS, NULL},   {"unblock", unblock, METH_VARARGS, NULL},
    {"learn", learn, METH_VARARGS, NULL},   {"parse", parse, METH_VARARGS, NULL},   {"measure", measure, METH_VARARGS, NULL},
    {"unfold", unfold, METH_VARARGS, NULL}, {"gather", gather, METH_VARARGS, NULL}, {"group", group, METH_VARARGS, NULL},
    {"pack", pack, METH_VARARGS, NULL},     {"places", places, METH_VARARGS, NULL},
    {"overlap", overlap, METH_VARARGS, NULL}, {"lay", lay, METH_VARARGS, NULL}, {"fill", fill, METH_VARARGS, NULL},
    {"marked", marked, METH_VARARGS, NULL}, {"compare", compare, METH_VARARGS, NULL}, {"best", best, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_native(void) { return PyModule_Create(&module); }
