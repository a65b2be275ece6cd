/* Texts as codes of 12 bits, each for a symbol of 1 to 16 bytes (format_spec/encodings/symbols.md).

   Symbols are learned as pairs of symbols that often stand side by side: first of bytes, then of what those made. */

#include "common.h"

#define CODE_BITS 12
#define CODES (1 << CODE_BITS)
/* A code below it is that byte. */
#define BYTES 256
#define LONGEST 16
#define SHORT 8
#define SLOT_BITS 15
#define FAR_BITS 14
#define NO_CODE CODES

/* What symbols are looked up in.
   slots: of a symbol part of its hash, its length less 1 and its code, where the rest of the hash says; 0: none. There is
   one symbol a slot: others that would be there are never found.
   far: the lengths of symbols of more than 8 bytes, length n as bit n - 1, by their first nine. */
typedef struct {
    uint64_t words[CODES][2];
    u8 lengths[CODES];
    int count;
    uint32_t slots[1 << SLOT_BITS];
    uint16_t far[1 << FAR_BITS];
} table;

static inline uint64_t mixed(uint64_t word) { return word * 0x9e3779b97f4a7c15; }
static inline uint64_t first_bytes(uint64_t word, int count) {
    return count >= 8 ? word : count <= 0 ? 0 : word & (((uint64_t)1 << 8 * count) - 1);
}
static inline uint64_t hash_of(uint64_t low, uint64_t high, int length) {
    return mixed(length <= SHORT ? low + length : (mixed(high + length) >> 7 ^ low));
}
static inline size_t place_of(uint64_t hash) { return hash >> (64 - SLOT_BITS); }
static inline uint32_t entry_of(uint64_t hash, int length) {
    return ((uint32_t)hash & 0xffff0000) | (uint32_t)(length - 1) << CODE_BITS;
}
static inline size_t far_of(uint64_t low, uint64_t high) { return mixed(low ^ mixed(high & 0xff)) >> (64 - FAR_BITS); }

static void clear(table *of) {
    memset(of, 0, sizeof *of);
    for (int byte = 0; byte < BYTES; byte++) of->words[byte][0] = byte, of->lengths[byte] = 1;
    of->count = BYTES;
}

/* Add a symbol of 2 bytes or more, if there is room for it. */
static void add(table *to, uint64_t low, uint64_t high, int length) {
    const uint64_t hash = hash_of(low, high, length);
    if (to->slots[place_of(hash)]) return;
    if (length > SHORT) to->far[far_of(low, high)] |= (uint16_t)(1 << (length - 1));
    to->slots[place_of(hash)] = entry_of(hash, length) | (uint32_t)to->count;
    to->words[to->count][0] = low;
    to->words[to->count][1] = high;
    to->lengths[to->count++] = (u8)length;
}

static inline int highest_bit(unsigned word) {
#ifdef __GNUC__
    return 31 - __builtin_clz(word);
#else
    int bit = 0;
    while (word >>= 1) bit++;
    return bit;
#endif
}

/* The code of a symbol; 0 where there is none. */
static inline unsigned code_of(const table *of, uint64_t low, uint64_t high, int length) {
    low = first_bytes(low, length), high = first_bytes(high, length - 8);
    const uint64_t hash = hash_of(low, high, length);
    const uint32_t slot = of->slots[place_of(hash)];
    const uint64_t *words = of->words[slot % CODES];
    return (slot ^ entry_of(hash, length)) < CODES && words[0] == low && words[1] == high ? slot % CODES : 0;
}

/* The code of the longest symbol that a cell goes on with. left: bytes of the cell; readable: that can be loaded. */
static inline unsigned longest(const table *of, const u8 *from, size_t left, size_t readable) {
    u8 last[LONGEST] = {0};
    if (readable < LONGEST) from = memcpy(last, from, readable);
    const uint64_t low = ((const u64 *)from)[0], high = ((const u64 *)from)[1];
    unsigned lengths = of->far[far_of(low, high)];
    if (left < LONGEST) lengths &= (1u << left) - 1;
    while (lengths) {
        const int bit = highest_bit(lengths);
        const unsigned code = code_of(of, low, high, bit + 1);
        if (code) return code;
        lengths ^= 1u << bit;
    }
    /* All of them without a branch, which no processor could foresee. */
    uint32_t found = low & 0xff;
#define PROBE(length)                                                                                                  \
    {                                                                                                                  \
        const uint64_t hash = hash_of(first_bytes(low, length), 0, length);                                            \
        const uint32_t slot = of->slots[place_of(hash)];                                                               \
        found = ((slot ^ entry_of(hash, length)) < CODES) & (left >= length) ? slot : found;                           \
    }
    PROBE(2) PROBE(3) PROBE(4) PROBE(5) PROBE(6) PROBE(7) PROBE(8)
#undef PROBE
    const int length = (int)(found / CODES % LONGEST) + 1;
    if (of->words[found % CODES][0] == first_bytes(low, length)) return found % CODES;
    /* Another symbol with the same hash, hardly ever. */
    for (int shorter = length - 1; shorter > 1; shorter--) {
        const unsigned code = code_of(of, low, 0, shorter);
        if (code) return code;
    }
    return low & 0xff;
}

/* ---- finding symbols ---- */

#define GENERATIONS 6
/* Early generations look at every 8th, 4th and 2nd cell. */
#define SPARSE_GENERATIONS 3
#define PAIRS (1 << 17)
#define MOST_PROBES 8
/* More often is often enough. */
#define MOST_SEEN 4095

typedef struct {
    uint32_t codes, seen;
} pair;
typedef struct {
    table now, next;
    uint32_t seen[CODES], order[CODES + PAIRS], starts[MOST_SEEN + 2];
    pair pairs[PAIRS];
} school;

/* Pairs that find no place are passed over: those seen often have come early. */
static inline void count_pair(pair *pairs, uint32_t codes) {
    size_t slot = codes * 0x9e3779b97f4a7c15 >> 47;
    for (int probe = 0; probe < MOST_PROBES; probe++, slot = (slot + 1) % PAIRS) {
        if (!pairs[slot].seen) pairs[slot].codes = codes;
        if (pairs[slot].codes == codes) {
            pairs[slot].seen++;
            return;
        }
    }
}

static void count_cells(school *of, const u8 *data, size_t nbytes, const i64 *offsets, size_t cells, size_t step) {
    memset(of->seen, 0, sizeof of->seen);
    memset(of->pairs, 0, sizeof of->pairs);
    for (size_t cell = 0; cell < cells; cell += step) {
        unsigned before = NO_CODE;
        for (size_t at = offsets[cell], end = offsets[cell + 1]; at < end;) {
            const unsigned code = longest(&of->now, data + at, end - at, nbytes - at);
            of->seen[code]++;
            if (before != NO_CODE && of->now.lengths[before] + of->now.lengths[code] <= LONGEST)
                count_pair(of->pairs, (uint32_t)before * CODES + code);
            at += of->now.lengths[code];
            before = code;
        }
    }
}

/* Two symbols as one. */
static void add_pair(table *to, const table *from, uint32_t codes) {
    const int first = codes / CODES, second = codes % CODES, length = from->lengths[first];
    const uint64_t *left = from->words[first], *right = from->words[second];
    uint64_t low = left[0], high = left[1];
    if (length < 8) {
        low |= right[0] << 8 * length;
        high = right[0] >> (64 - 8 * length) | right[1] << 8 * length;
    } else
        high |= right[0] << 8 * (length - 8);
    add(to, low, high, length + from->lengths[second]);
}

static uint32_t seen_of(const school *of, uint32_t candidate) {
    const uint32_t seen = candidate < CODES ? of->seen[candidate] : of->pairs[candidate - CODES].seen;
    return seen < MOST_SEEN ? seen : MOST_SEEN;
}

/* The symbols and pairs seen most often, more than once. */
static void choose(school *of) {
    memset(of->starts, 0, sizeof of->starts);
    for (uint32_t candidate = BYTES; candidate < CODES + PAIRS; candidate++) of->starts[MOST_SEEN - seen_of(of, candidate) + 1]++;
    for (int seen = 0; seen <= MOST_SEEN; seen++) of->starts[seen + 1] += of->starts[seen];
    const uint32_t several = of->starts[MOST_SEEN - 1];
    for (uint32_t candidate = BYTES; candidate < CODES + PAIRS; candidate++)
        of->order[of->starts[MOST_SEEN - seen_of(of, candidate)]++] = candidate;
    clear(&of->next);
    for (uint32_t at = 0; at < several && of->next.count < CODES; at++) {
        const uint32_t candidate = of->order[at];
        if (candidate < CODES)
            add(&of->next, of->now.words[candidate][0], of->now.words[candidate][1], of->now.lengths[candidate]);
        else
            add_pair(&of->next, &of->now, of->pairs[candidate - CODES].codes);
    }
    memcpy(&of->now, &of->next, sizeof of->now);
}

static void attend(school *of, const u8 *data, size_t nbytes, const i64 *offsets, size_t cells) {
    clear(&of->now);
    for (int generation = 0; generation < GENERATIONS; generation++) {
        const int sparse = SPARSE_GENERATIONS - generation;
        count_cells(of, data, nbytes, offsets, cells, sparse > 0 ? (size_t)1 << sparse : 1);
        choose(of);
    }
}

static int are_offsets(const Py_buffer *view, Py_ssize_t nbytes) {
    const Py_ssize_t count = view->len / 8;
    const i64 *offsets = view->buf;
    if (view->itemsize != 8 || count < 1 || offsets[0] < 0 || offsets[count - 1] > nbytes) return 0;
    for (Py_ssize_t at = 1; at < count; at++)
        if (offsets[at] < offsets[at - 1]) return 0;
    return 1;
}

static PyObject *counted(Py_buffer *views, int count, int fits, Py_ssize_t number, const char *wrong) {
    PyObject *done = finished(views, count, fits, wrong);
    if (!done) return NULL;
    Py_DECREF(done);
    return PyLong_FromSsize_t(number);
}

PyObject *learn(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &view[0], &view[1], &view[2], &view[3])) return NULL;
    const Py_ssize_t most = CODES - BYTES;
    const int fits = are_offsets(&view[1], view[0].len) && view[2].len == most && view[3].len == most * LONGEST;
    Py_ssize_t count = 0;
    school *of = fits ? PyMem_RawMalloc(sizeof *of) : NULL;
    if (of) {
        RUN(view[0].len, attend(of, view[0].buf, view[0].len, view[1].buf, view[1].len / 8 - 1));
        count = of->now.count - BYTES;
        memcpy(view[2].buf, of->now.lengths + BYTES, count);
        memcpy(view[3].buf, of->now.words + BYTES, count * LONGEST);
        PyMem_RawFree(of);
    }
    PyObject *found = counted(view, 4, fits, count, "learn: the offsets are not those of cells");
    if (fits && !of) {
        Py_XDECREF(found);
        return PyErr_NoMemory();
    }
    return found;
}

/* ---- texts to codes ---- */

/* ends: of the codes of cells, behind 0. Returns the bytes written. */
static size_t parse_cells(table *of, const u8 *data, size_t nbytes, const i64 *offsets, size_t cells, u8 *out, i64 *ends) {
    u8 *to = out;
    int64_t codes = 0;
    unsigned before = 0;
    *ends++ = 0;
    for (size_t cell = 0; cell < cells; cell++) {
        for (size_t at = offsets[cell], end = offsets[cell + 1]; at < end; codes++) {
            const unsigned code = longest(of, data + at, end - at, nbytes - at);
            at += of->lengths[code];
            if (codes % 2) {
                *to++ = (u8)before;
                *to++ = (u8)(before >> 8 | code << 4);
                *to++ = (u8)(code >> 4);
            }
            before = code;
        }
        *ends++ = codes;
    }
    if (codes % 2) {
        *to++ = (u8)before;
        *to++ = (u8)(before >> 8);
        *to++ = 0;
    }
    return to - out;
}

static int are_symbols(const Py_buffer *lengths, const Py_buffer *words) {
    const u8 *length = lengths->buf;
    if (lengths->len > CODES - BYTES || words->len != lengths->len * LONGEST) return 0;
    for (Py_ssize_t at = 0; at < lengths->len; at++)
        if (length[at] < 2 || length[at] > LONGEST) return 0;
    return 1;
}

static void look_up(table *to, const Py_buffer *lengths, const Py_buffer *words) {
    const u64 *word = words->buf;
    clear(to);
    for (Py_ssize_t at = 0; at < lengths->len; at++, word += 2) {
        const int length = ((const u8 *)lengths->buf)[at], code = to->count;
        add(to, first_bytes(word[0], length), first_bytes(word[1], length - 8), length);
        /* A symbol that is there already has a code of its own nevertheless. */
        to->count = code + 1;
    }
}

PyObject *parse(PyObject *self, PyObject *args) {
    Py_buffer view[6];
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*w*", &view[0], &view[1], &view[2], &view[3], &view[4], &view[5])) return NULL;
    const int fits = are_offsets(&view[1], view[0].len) && are_symbols(&view[2], &view[3]) &&
                     view[4].len / 2 >= view[0].len + 1 && view[5].itemsize == 8 && view[5].len == view[1].len;
    Py_ssize_t nbytes = 0;
    table *of = fits ? PyMem_RawMalloc(sizeof *of) : NULL;
    if (of) {
        look_up(of, &view[2], &view[3]);
        RUN(view[0].len, nbytes = parse_cells(of, view[0].buf, view[0].len, view[1].buf, view[1].len / 8 - 1, view[4].buf,
                                              view[5].buf));
        PyMem_RawFree(of);
    }
    PyObject *found = counted(view, 6, fits, nbytes, "parse: the offsets are not those of cells, or the room too small");
    if (fits && !of) {
        Py_XDECREF(found);
        return PyErr_NoMemory();
    }
    return found;
}

/* ---- codes to texts ---- */

/* Code i: 12 bits, the first in the lowest. */
static inline unsigned code_at(const u8 *packed, size_t code) {
    const u8 *at = packed + code / 2 * 3 + code % 2;
    return code % 2 ? at[0] >> 4 | at[1] << 4 : (at[0] | at[1] << 8) % CODES;
}

#define AT_ONCE 4
#define CODE_OF(word, which) ((word) >> CODE_BITS * (which) & (CODES - 1))
/* Of a number of codes those that are loaded four at a time, 8 bytes each, 6 of them theirs. */
static inline size_t loaded(size_t first, size_t last, size_t nbytes) {
    const size_t readable = nbytes < 8 ? 0 : (nbytes - 8) / 3 * 2 + AT_ONCE;
    const size_t end = last < readable ? last : readable;
    return end > first ? (end - first) / AT_ONCE * AT_ONCE : 0;
}

#define CHUNK 2048

/* Cells that lie end to end: where each code's symbol begins is known first, then where cells do.
   Returns whether all codes have symbols. */
static int measure_stream(const u8 *packed, size_t nbytes, const i64 *starts, const i64 *ends, size_t cells,
                          const u8 *lengths, i64 *restrict offsets) {
    uint32_t places[CHUNK + 1], unknown = 0;
    int64_t offset = *offsets++;
    size_t cell = 0;
    for (size_t first = starts[0], last = ends[cells - 1]; cell < cells; first += CHUNK) {
        const size_t some = last - first < CHUNK ? last - first : CHUNK;
        const size_t odd = first % 2 && some, fast = odd + loaded(first + odd, first + some, nbytes);
        uint32_t place = 0;
        size_t at = 0;
        for (; at < some; at++) {
            if (at == odd)
                for (const u8 *from = packed + (first + odd) / 2 * 3; at < fast; at += AT_ONCE, from += 6) {
                    const uint64_t word = *(const u64 *)from;
                    for (int which = 0; which < AT_ONCE; which++) {
                        const uint32_t length = lengths[CODE_OF(word, which)];
                        places[at + which] = place;
                        unknown |= length - 1;
                        place += length;
                    }
                }
            if (at == some) break;
            const uint32_t length = lengths[code_at(packed, first + at)];
            places[at] = place;
            unknown |= length - 1;
            place += length;
        }
        places[some] = place;
        for (; cell < cells && (size_t)ends[cell] - first <= some; cell++) *offsets++ = offset + places[ends[cell] - first];
        offset += place;
    }
    return unknown <= INT32_MAX;
}

static int measure_cells(const u8 *packed, const i64 *starts, const i64 *ends, size_t cells, const u8 *lengths,
                         i64 *restrict offsets) {
    uint32_t unknown = 0;
    int64_t offset = *offsets++;
    for (size_t cell = 0; cell < cells; cell++) {
        for (size_t code = starts[cell]; code < (size_t)ends[cell]; code++) {
            const uint32_t length = lengths[code_at(packed, code)];
            unknown |= length - 1;
            offset += length;
        }
        *offsets++ = offset;
    }
    return unknown <= INT32_MAX;
}

/* Whether spans of codes are inside the bytes; to `stream`, whether each begins where the one before it ends. */
static int are_spans(const Py_buffer *starts, const Py_buffer *ends, Py_ssize_t nbytes, int *stream) {
    const i64 *start = starts->buf, *end = ends->buf;
    const Py_ssize_t count = starts->len / 8;
    if (starts->itemsize != 8 || ends->itemsize != 8 || starts->len != ends->len) return 0;
    const int64_t codes = nbytes / 3 * 2;
    unsigned fits = 1, follows = count > 0;
    for (Py_ssize_t at = 0; at < count; at++) fits &= (start[at] >= 0) & (start[at] <= end[at]) & (end[at] <= codes);
    for (Py_ssize_t at = 1; at < count; at++) follows &= start[at] == end[at - 1];
    *stream = (int)follows;
    return (int)fits;
}

PyObject *measure(PyObject *self, PyObject *args) {
    Py_buffer view[5];
    int stream = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*y*w*", &view[0], &view[1], &view[2], &view[3], &view[4])) return NULL;
    int fits = view[3].len == CODES && view[4].itemsize == 8 && view[4].len == view[1].len + 8 &&
               are_spans(&view[1], &view[2], view[0].len, &stream);
    const u8 *packed = view[0].buf, *lengths = view[3].buf;
    const i64 *starts = view[1].buf, *ends = view[2].buf;
    const size_t nbytes = view[0].len, cells = view[1].len / 8;
    i64 *offsets = view[4].buf;
    if (fits)
        RUN(view[0].len, fits = stream ? measure_stream(packed, nbytes, starts, ends, cells, lengths, offsets)
                                       : measure_cells(packed, starts, ends, cells, lengths, offsets));
    return finished(view, 5, fits, "measure: a cell has a code that no symbol has, or codes beyond the bytes");
}

static inline u8 *put(u8 *to, const u64 *words, const u8 *lengths, unsigned code) {
    ((u64 *)to)[0] = words[2 * code];
    ((u64 *)to)[1] = words[2 * code + 1];
    return to + lengths[code];
}

/* Codes of one span. Returns where their bytes end; NULL where there is no room for them. */
static u8 *unfold_span(const u8 *packed, size_t nbytes, size_t first, size_t last, const u8 *lengths, const u64 *words,
                       u8 *restrict to, const u8 *room) {
    for (size_t at = first; at < last; at++) {
        if (at % 2 == 0) {
            const u8 *from = packed + at / 2 * 3;
            for (size_t left = loaded(at, last, nbytes); left && room - to >= AT_ONCE * LONGEST; left -= AT_ONCE, from += 6) {
                const uint64_t word = *(const u64 *)from;
                for (int which = 0; which < AT_ONCE; which++) to = put(to, words, lengths, CODE_OF(word, which));
                at += AT_ONCE;
            }
            if (at == last) break;
        }
        const unsigned code = code_at(packed, at);
        if (room - to >= LONGEST) {
            to = put(to, words, lengths, code);
            continue;
        }
        if (lengths[code] > room - to) return NULL;
        memcpy(to, words + 2 * code, lengths[code]);
        to += lengths[code];
    }
    return to;
}

/* Returns whether the symbols of all spans fill the room. */
static int unfold_spans(const u8 *packed, size_t nbytes, const i64 *starts, const i64 *ends, size_t count,
                        const u8 *lengths, const u64 *words, u8 *to, const u8 *room) {
    for (size_t at = 0; at < count && to; at++)
        to = unfold_span(packed, nbytes, starts[at], ends[at], lengths, words, to, room);
    return to == room;
}

PyObject *unfold(PyObject *self, PyObject *args) {
    Py_buffer view[6];
    int stream = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*w*", &view[0], &view[1], &view[2], &view[3], &view[4], &view[5])) return NULL;
    int fits = view[3].len == CODES && view[4].len == CODES * LONGEST && are_spans(&view[1], &view[2], view[0].len, &stream);
    const u8 *lengths = view[3].buf;
    for (int code = 0; fits && code < CODES; code++) fits = lengths[code] <= LONGEST;
    const i64 *starts = view[1].buf, *ends = view[2].buf;
    const size_t count = view[1].len / 8;
    u8 *to = view[5].buf;
    /* Of cells that lie end to end it does not matter where each ends. */
    if (fits)
        RUN(view[5].len, fits = unfold_spans(view[0].buf, view[0].len, starts, stream ? ends + count - 1 : ends,
                                             stream ? 1 : count, lengths, view[4].buf, to, to + view[5].len));
    return finished(view, 6, fits, "unfold: the symbols of the codes do not fill the room");
}
