/* Vectors: compared where they lie, and the nearest of them. */

#include "common.h"
#include <float.h>
#include <math.h>

/* Sums are taken side by side, as many as a processor adds at a time, some times over. */
#if defined(BY_PROCESSOR) && __GNUC__ >= 12
#define SUMMING __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) static void
#else
#define SUMMING static void
#endif
#define SIDE_BY_SIDE 32
#define LINE_NBYTES 64
/* So many vectors ahead the processor is told which bytes come, up to so many bytes of each. */
#define AHEAD 4
#define MOST_AHEAD 2048

/* Add TERM of every number `x` of a query and `y` of a vector to `sum`, and OTHER to `other`. */
#define OVER_NUMBERS(TERM, OTHER)                                                                                      \
    float sums[SIDE_BY_SIDE] = {0}, others[SIDE_BY_SIDE] = {0};                                                        \
    double sum = 0, other = 0;                                                                                         \
    size_t at = 0;                                                                                                     \
    for (; at + SIDE_BY_SIDE <= dimension; at += SIDE_BY_SIDE)                                                         \
        for (size_t lane = 0; lane < SIDE_BY_SIDE; lane++) {                                                           \
            const float x = query[at + lane], y = vector[at + lane];                                                   \
            sums[lane] += TERM, others[lane] += OTHER;                                                                 \
        }                                                                                                              \
    for (; at < dimension; at++) {                                                                                     \
        const float x = query[at], y = vector[at];                                                                     \
        sum += TERM, other += OTHER;                                                                                   \
    }                                                                                                                  \
    for (size_t lane = 0; lane < SIDE_BY_SIDE; lane++) sum += sums[lane], other += others[lane];

/* The length of a query; NaN of one that has none. */
static double length_of(const f32 *query, size_t dimension) {
    double sum = 0;
    for (size_t at = 0; at < dimension; at++) sum += (double)query[at] * query[at];
    return sum <= FLT_MAX ? sqrt(sum) : NAN;
}

/* Fill `to` with DISTANCE of each query, which has some LENGTH, to its vectors: `each` places, below 0 for none. */
#define COMPARE(NAME, LENGTH, TERM, OTHER, DISTANCE)                                                                   \
    SUMMING NAME(const u8 *data, const i64 *places, size_t count, const f32 *queries, size_t dimension, size_t each,   \
                 f32 *to) {                                                                                            \
        const size_t ahead = dimension * 4 < MOST_AHEAD ? dimension * 4 : MOST_AHEAD;                                  \
        const f32 *query = queries;                                                                                    \
        double length = LENGTH;                                                                                        \
        for (size_t row = 0, left = each; row < count; row++, left--) {                                                \
            if (!left) {                                                                                               \
                left = each, query += dimension;                                                                       \
                length = LENGTH;                                                                                       \
            }                                                                                                          \
            if (row + AHEAD < count)                                                                                   \
                for (size_t byte = 0; byte < ahead; byte += LINE_NBYTES)                                               \
                    __builtin_prefetch(data + places[row + AHEAD] + byte, 0, 2);                                       \
            if (places[row] < 0) {                                                                                     \
                to[row] = NAN;                                                                                         \
                continue;                                                                                              \
            }                                                                                                          \
            const f32 *vector = (const f32 *)(data + places[row]);                                                     \
            OVER_NUMBERS(TERM, OTHER)                                                                                  \
            (void)other, (void)length;                                                                                 \
            const float distance = (float)(DISTANCE);                                                                  \
            to[row] = isfinite(distance) ? distance : NAN;                                                             \
        }                                                                                                              \
    }
COMPARE(compare_l2, 0, (x - y) * (x - y), 0, sum)
COMPARE(compare_dot, 0, x *y, 0, 1 - sum)
COMPARE(compare_cosine, length_of(query, dimension), x *y, y *y,
        other <= FLT_MAX ? 1 - sum / (sqrt(other) * length) : NAN)

PyObject *compare(PyObject *self, PyObject *args) {
    Py_buffer view[4];
    Py_ssize_t dimension;
    int metric;
    if (!PyArg_ParseTuple(args, "y*y*y*niw*", &view[0], &view[1], &view[2], &dimension, &metric, &view[3])) return NULL;
    const Py_ssize_t count = rows_of(&view[3]), numbers = rows_of(&view[2]);
    int fits = view[1].itemsize == 8 && view[2].itemsize == 4 && view[3].itemsize == 4 && rows_of(&view[1]) == count &&
               metric >= 0 && metric <= 2 && dimension > 0 && dimension <= PY_SSIZE_T_MAX / 4 && numbers % dimension == 0;
    const Py_ssize_t queries = fits ? numbers / dimension : 0, each = queries ? count / queries : 0;
    fits = fits && each * queries == count;
    const i64 *places = view[1].buf;
    const Py_ssize_t last = view[0].len - 4 * dimension;
    for (Py_ssize_t at = 0; at < count && fits; at++) fits = places[at] <= last;
    if (fits && count)
        RUN(4 * dimension * count,
            (metric == 0   ? compare_l2
             : metric == 1 ? compare_dot
                           : compare_cosine)(view[0].buf, places, count, view[2].buf, dimension, each, view[3].buf));
    return finished(view, 4, fits, "compare: the vectors are not in the bytes, or there is not as much room");
}

/* Is a row farther than another one? Of equal scores the larger id is. */
static inline int is_behind(const i64 *ids, const f32 *scores, int64_t row, int64_t other) {
    return scores[row] > scores[other] || (scores[row] == scores[other] && ids[row] > ids[other]);
}

/* Let a row sink in a heap, whose first is farthest, to where those below it are nearer. */
static void sink(const i64 *ids, const f32 *scores, i64 *heap, size_t count, size_t at, int64_t row) {
    for (size_t below; (below = 2 * at + 1) < count; at = below) {
        if (below + 1 < count && is_behind(ids, scores, heap[below + 1], heap[below])) below++;
        if (!is_behind(ids, scores, heap[below], row)) break;
        heap[at] = heap[below];
    }
    heap[at] = row;
}

/* The places of the least scores, ascending, of equal ones the smaller id first. Returns how many there are. */
static size_t choose(const i64 *ids, const f32 *scores, size_t count, float low, float high, i64 *to, size_t room) {
    size_t found = 0;
    for (size_t row = 0; row < count; row++) {
        const float score = scores[row];
        if (ids[row] < 0 || isnan(score) || score < low || score >= high) continue;
        if (found < room) {
            to[found++] = row;
            if (found == room)
                for (size_t at = room / 2; at--;) sink(ids, scores, to, room, at, to[at]);
        } else if (is_behind(ids, scores, to[0], row))
            sink(ids, scores, to, room, 0, row);
    }
    if (found < room)
        for (size_t at = found / 2; at--;) sink(ids, scores, to, found, at, to[at]);
    for (size_t left = found; left > 1;) {
        const int64_t last = to[--left];
        to[left] = to[0];
        sink(ids, scores, to, left, 0, last);
    }
    return found;
}

PyObject *best(PyObject *self, PyObject *args) {
    Py_buffer view[3];
    float low, high;
    if (!PyArg_ParseTuple(args, "y*y*ffw*", &view[0], &view[1], &low, &high, &view[2])) return NULL;
    const Py_ssize_t count = rows_of(&view[0]), room = rows_of(&view[2]);
    const int fits = view[0].itemsize == 8 && view[1].itemsize == 4 && view[2].itemsize == 8 && rows_of(&view[1]) == count &&
                     room > 0;
    size_t found = 0;
    if (fits) RUN(count * 8, found = choose(view[0].buf, view[1].buf, count, low, high, view[2].buf, room));
    PyObject *done = finished(view, 3, fits, "best: there are not as many scores as ids, or no room");
    if (!done) return NULL;
    Py_DECREF(done);
    return PyLong_FromSize_t(found);
}
