/* Whole arrays: ranges of bytes gathered, cells looked up, flags placed and counted, values grouped, numbers packed. */

#include "common.h"

/* ---- ranges of bytes, end to end ---- */

#define AT_ONCE 16

static void gather_ranges(const u8 *data, size_t nbytes, const i64 *starts, const i64 *ends, size_t count, u8 *restrict to,
                          const u8 *room) {
    for (size_t at = 0; at < count; at++) {
        const size_t start = starts[at], length = ends[at] - starts[at];
        /* Of short ranges more is copied than is asked for, which takes less than a call. */
        if (length <= AT_ONCE && nbytes - start >= AT_ONCE && room - to >= AT_ONCE) {
            ((u64 *)to)[0] = ((const u64 *)(data + start))[0];
            ((u64 *)to)[1] = ((const u64 *)(data + start))[1];
        } else
            memcpy(to, data + start, length);
        to += length;
    }
}

PyObject *gather(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &view[0], &view[1], &view[2], &view[3])) return NULL;
    int fits = view[1].itemsize == 8 && view[2].itemsize == 8 && view[1].len == view[2].len;
    const i64 *starts = view[1].buf, *ends = view[2].buf;
    const Py_ssize_t count = fits ? view[1].len / 8 : 0;
    int64_t left = view[3].len;
    for (Py_ssize_t at = 0; at < count && fits; at++) {
        fits = starts[at] >= 0 && starts[at] <= ends[at] && ends[at] <= view[0].len && ends[at] - starts[at] <= left;
        left -= ends[at] - starts[at];
    }
    fits = fits && left == 0;
    u8 *to = view[3].buf;
    if (fits) RUN(view[3].len, gather_ranges(view[0].buf, view[0].len, starts, ends, count, to, to + view[3].len));
    return finished(view, 4, fits, "gather: the ranges are not in the bytes, or do not fill the room");
}

/* ---- ranges of bytes in blocks, some of which are marked ---- */

/* Of a page: where it begins, the log2 of its blocks and the number of the first one, below 0 while it has none. */
enum { PAGE_OFFSET = 0, PAGE_LOG2 = 2, PAGE_FIRST = 4, PAGE_NUMBERS = 8 };

/* ranges: starts, ends and pages, which may lie apart. */
static int all_marked(const Py_buffer *ranges, size_t count, const i64 *pages, int64_t most, const u8 *marks,
                      int64_t limit) {
    for (size_t at = 0; at < count; at++) {
        int64_t number[3];
        for (int side = 0; side < 3; side++)
            number[side] = *(const i64 *)((const u8 *)ranges[side].buf + (Py_ssize_t)at * ranges[side].strides[0]);
        const int64_t start = number[0], end = number[1], slot = number[2];
        if (start == end) continue;
        if (slot < 0 || slot >= most) return 0;
        const i64 *page = pages + PAGE_NUMBERS * slot;
        const int64_t offset = page[PAGE_OFFSET], base = page[PAGE_FIRST], log2 = page[PAGE_LOG2] & 63;
        if (base < 0 || start < offset || end < start) return 0;
        const int64_t first = base + ((start - offset) >> log2), last = base + ((end - 1 - offset) >> log2);
        if (last >= limit || memchr(marks + first, 0, last - first + 1)) return 0;
    }
    return 1;
}

PyObject *marked(PyObject *self, PyObject *args) {
    PyObject *given[5];
    Py_buffer view[5];
    if (!PyArg_ParseTuple(args, "OOOOO", &given[0], &given[1], &given[2], &given[3], &given[4])) return NULL;
    for (int at = 0; at < 5; at++)
        if (PyObject_GetBuffer(given[at], &view[at], at < 3 ? PyBUF_STRIDED_RO : PyBUF_SIMPLE)) {
            while (at--) PyBuffer_Release(&view[at]);
            return NULL;
        }
    int fits = view[3].len % (8 * PAGE_NUMBERS) == 0 && view[4].itemsize == 1;
    for (int at = 0; at < 3 && fits; at++)
        fits = view[at].ndim == 1 && view[at].itemsize == 8 && view[at].shape[0] == view[0].shape[0];
    int found = 0;
    if (fits)
        found = all_marked(view, view[0].shape[0], view[3].buf, view[3].len / (8 * PAGE_NUMBERS), view[4].buf, view[4].len);
    PyObject *done = finished(view, 5, fits, "marked: there are not as many ends and pages as starts");
    if (!done) return NULL;
    Py_DECREF(done);
    return PyBool_FromLong(found);
}

/* ---- cells of a dictionary, by their numbers ---- */

/* Returns whether cells lie in so many bytes. */
static int are_bounds(const i64 *bounds, Py_ssize_t count, Py_ssize_t nbytes) {
    if (count < 1 || bounds[0] < 0 || bounds[count - 1] > nbytes) return 0;
    for (Py_ssize_t at = 1; at < count; at++)
        if (bounds[at - 1] > bounds[at]) return 0;
    return 1;
}

/* The bytes of all cells; -1 where one has no number below the limit. */
#define LAY(T)                                                                                                         \
    static int64_t lay_##T(const u32 *numbers, size_t count, const i64 *bounds, size_t limit, T *restrict to) {        \
        int64_t end = 0;                                                                                               \
        to[0] = 0;                                                                                                     \
        for (size_t at = 0; at < count; at++) {                                                                        \
            if (numbers[at] >= limit) return -1;                                                                       \
            end += bounds[numbers[at] + 1] - bounds[numbers[at]];                                                      \
            to[at + 1] = (T)end;                                                                                       \
        }                                                                                                              \
        return end;                                                                                                    \
    }
LAY(u32) LAY(u64)

PyObject *lay(PyObject *self, PyObject *args) {
    Py_buffer view[3];
    if (!PyArg_ParseTuple(args, "y*y*w*", &view[0], &view[1], &view[2])) return NULL;
    const Py_ssize_t count = rows_of(&view[0]), limit = rows_of(&view[1]) - 1, size = view[2].itemsize;
    const int fits = view[0].itemsize == 4 && view[1].itemsize == 8 && (size == 4 || size == 8) &&
                     rows_of(&view[2]) == count + 1 && are_bounds(view[1].buf, limit + 1, PY_SSIZE_T_MAX);
    int64_t end = -1;
    if (fits)
        RUN(view[2].len, end = size == 4 ? lay_u32(view[0].buf, count, view[1].buf, limit, view[2].buf)
                                         : lay_u64(view[0].buf, count, view[1].buf, limit, view[2].buf));
    PyObject *done = finished(view, 3, end >= 0, "lay: a number is past the last cell");
    if (!done) return NULL;
    Py_DECREF(done);
    return PyLong_FromLongLong(end);
}

/* Few cells of up to AT_ONCE bytes as such, so that a row is two loads and two stores; of others, or near the end of the
   room, none. Moves `to` behind them, and returns how many there were. */
#define MOST_SHORT 1024
static size_t fill_short(const u32 *numbers, size_t count, const i64 *bounds, size_t limit, const u8 *cells, u8 **to,
                         const u8 *end) {
    uint64_t table[MOST_SHORT][AT_ONCE / 8];
    u8 lengths[MOST_SHORT], *next = *to;
    if (limit > MOST_SHORT || limit > count) return 0;
    for (size_t at = 0; at < limit; at++) {
        const size_t length = bounds[at + 1] - bounds[at];
        if (length > AT_ONCE) return 0;
        memcpy(table[at], cells + bounds[at], length);
        lengths[at] = (u8)length;
    }
    size_t at = 0;
    for (; at < count && end - next >= AT_ONCE; at++) {
        const size_t number = numbers[at];
        if (number >= limit) break;
        ((u64 *)next)[0] = table[number][0];
        ((u64 *)next)[1] = table[number][1];
        next += lengths[number];
    }
    *to = next;
    return at;
}

/* Returns whether they fill the room. */
static int fill_cells(const u32 *numbers, size_t count, const i64 *bounds, size_t limit, const u8 *cells, size_t nbytes,
                      u8 *to, const u8 *end) {
    for (size_t at = fill_short(numbers, count, bounds, limit, cells, &to, end); at < count; at++) {
        if (numbers[at] >= limit) return 0;
        const size_t start = bounds[numbers[at]], length = bounds[numbers[at] + 1] - start, room = end - to;
        if (length > room) return 0;
        if (length <= AT_ONCE && nbytes - start >= AT_ONCE && room >= AT_ONCE) {
            ((u64 *)to)[0] = ((const u64 *)(cells + start))[0];
            ((u64 *)to)[1] = ((const u64 *)(cells + start))[1];
        } else
            memcpy(to, cells + start, length);
        to += length;
    }
    return to == end;
}

PyObject *fill(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &view[0], &view[1], &view[2], &view[3])) return NULL;
    const Py_ssize_t limit = rows_of(&view[1]) - 1;
    int fits = view[0].itemsize == 4 && view[1].itemsize == 8 && are_bounds(view[1].buf, limit + 1, view[2].len);
    if (fits)
        RUN(view[3].len, fits = fill_cells(view[0].buf, rows_of(&view[0]), view[1].buf, limit, view[2].buf, view[2].len,
                                           view[3].buf, (u8 *)view[3].buf + view[3].len));
    return finished(view, 4, fits, "fill: a number is past the last cell, or the cells do not fill the room");
}

/* ---- the places of flags ---- */

/* flags: bytes 0 and 1. Returns whether there are as many as places. */
static int place_flags(const u8 *flags, size_t rows, i64 *restrict to, size_t count) {
    size_t found = 0, row = 0;
    for (; row + 8 <= rows; row += 8) {
        uint64_t word = *(const u64 *)(flags + row);
        if (!word) continue;
        if (count - found < 8) break;
        for (int at = 0; at < 8; at++, word >>= 8) {
            to[found] = (int64_t)(row + at);
            found += word & 1;
        }
    }
    for (; row < rows; row++) {
        if (!flags[row]) continue;
        if (found == count) return 0;
        to[found++] = (int64_t)row;
    }
    return found == count;
}

PyObject *places(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    if (!PyArg_ParseTuple(args, "y*w*", &view[0], &view[1])) return NULL;
    int fits = view[0].itemsize == 1 && view[1].itemsize == 8;
    const void *flags = view[0].buf;
    void *to = view[1].buf;
    if (fits) RUN(view[0].len, fits = place_flags(flags, view[0].len, to, view[1].len / 8));
    return finished(view, 2, fits, "places: there are not as many flags");
}

/* ---- rows that are flagged in two arrays ---- */

/* flags, others: bytes 0 and 1. Words of eight are added up until a byte of the sum could overflow. */
#define SUMS 8

static size_t overlap_of(const u8 *flags, const u8 *others, size_t rows) {
    size_t count = 0, row = 0;
    while (rows - row >= 8 * SUMS) {
        const size_t left = (rows - row) / (8 * SUMS), turns = left < 255 ? left : 255;
        const u64 *some = (const u64 *)(flags + row), *more = (const u64 *)(others + row);
        uint64_t sums[SUMS] = {0};
        for (size_t turn = 0; turn < turns; turn++, some += SUMS, more += SUMS)
            for (int at = 0; at < SUMS; at++) sums[at] += some[at] & more[at];
        for (int at = 0; at < SUMS; at++)
            for (int byte = 0; byte < 8; byte++) count += sums[at] >> 8 * byte & 0xff;
        row += turns * 8 * SUMS;
    }
    for (; row < rows; row++) count += flags[row] & others[row];
    return count;
}

PyObject *overlap(PyObject *self, PyObject *args) {
    Py_buffer view[2];
    if (!PyArg_ParseTuple(args, "y*y*", &view[0], &view[1])) return NULL;
    const int fits = view[0].itemsize == 1 && view[1].itemsize == 1 && view[0].len == view[1].len;
    size_t count = 0;
    if (fits) RUN(view[0].len, count = overlap_of(view[0].buf, view[1].buf, view[0].len));
    PyObject *done = finished(view, 2, fits, "overlap: the flags are not of the same rows");
    if (!done) return NULL;
    Py_DECREF(done);
    return PyLong_FromSize_t(count);
}

/* ---- values by numbers below a limit, those of one number in their order ---- */

/* begins: of the values of each number, and where those of the last one end. Returns whether all are below the limit. */
static int group_values(const u32 *numbers, const u32 *values, size_t count, size_t limit, u32 *restrict to,
                        i64 *restrict begins) {
    memset(begins, 0, (limit + 1) * 8);
    for (size_t at = 0; at < count; at++) {
        if (numbers[at] >= limit) return 0;
        begins[numbers[at] + 1]++;
    }
    for (size_t number = 0; number < limit; number++) begins[number + 1] += begins[number];
    for (size_t at = 0; at < count; at++) to[begins[numbers[at]]++] = values[at];
    /* Each begins now where its values end, which is where the next one's did. */
    memmove(begins + 1, begins, limit * 8);
    begins[0] = 0;
    return 1;
}

PyObject *group(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &view[0], &view[1], &view[2], &view[3])) return NULL;
    const Py_ssize_t count = rows_of(&view[0]), limit = rows_of(&view[3]) - 1;
    int fits = view[3].itemsize == 8 && limit >= 0;
    for (int at = 0; at < 3; at++) fits = fits && view[at].itemsize == 4 && rows_of(&view[at]) == count;
    const void *numbers = view[0].buf, *values = view[1].buf;
    void *to = view[2].buf, *begins = view[3].buf;
    if (fits) RUN(view[0].len, fits = group_values(numbers, values, count, limit, to, begins));
    return finished(view, 4, fits, "group: a number is not below the limit, or the values are others");
}

/* ---- blocks of numbers in as few bits as each block needs ---- */

#define MAX_WIDTH 32

static void pack_blocks(const i64 *values, const i64 *counts, const u8 *widths, size_t blocks, u8 *to) {
    for (size_t block = 0; block < blocks; block++) {
        const int width = widths[block];
        const uint64_t mask = ((uint64_t)1 << width) - 1;
        uint64_t bits = 0;
        int filled = 0;
        for (const i64 *end = values + counts[block]; values < end; values++) {
            bits |= ((uint64_t)*values & mask) << filled;
            filled += width;
            /* Less than 4 bytes wait, so that the next number fits. */
            for (; filled >= 32; filled -= 32, bits >>= 32, to += 4) *(u32 *)to = (uint32_t)bits;
        }
        for (; filled > 0; filled -= 8, bits >>= 8) *to++ = (u8)bits;
    }
}

PyObject *pack(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &view[0], &view[1], &view[2], &view[3])) return NULL;
    const Py_ssize_t blocks = view[2].len;
    int fits = view[0].itemsize == 8 && view[1].itemsize == 8 && view[1].len / 8 == blocks;
    const i64 *counts = view[1].buf;
    const u8 *widths = view[2].buf;
    int64_t values = view[0].len / 8, nbytes = view[3].len;
    for (Py_ssize_t block = 0; block < blocks && fits; block++) {
        fits = counts[block] >= 0 && counts[block] <= values && widths[block] <= MAX_WIDTH;
        values -= counts[block];
        nbytes -= fits ? (counts[block] * widths[block] + 7) / 8 : 0;
    }
    fits = fits && values == 0 && nbytes == 0;
    if (fits) RUN(view[0].len, pack_blocks(view[0].buf, counts, widths, blocks, view[3].buf));
    return finished(view, 4, fits, "pack: the blocks are not those of the numbers, or of the bytes");
}
