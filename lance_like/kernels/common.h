/* What the kernels' files share. A call checks that its buffers are as long as it will read and write, so that no file
   can make it go astray. Integers in files are little-endian: on other machines this does not compile, and plain.py is
   used. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian machines only"
#endif

/* Files are mapped: words lie at any address. */
#ifdef __GNUC__
#define ANYWHERE __attribute__((aligned(1), may_alias))
#else
#define ANYWHERE
#endif
typedef uint8_t u8;
typedef uint16_t u16 ANYWHERE;
typedef uint32_t u32 ANYWHERE;
typedef uint64_t u64 ANYWHERE;
typedef int64_t i64 ANYWHERE;
typedef double f64 ANYWHERE;
typedef float f32 ANYWHERE;

/* Loops are compiled for several processors, and chosen by the one that there is. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define BY_PROCESSOR
#define LOOP __attribute__((target_clones("avx2", "default"))) static void
#else
#define LOOP static void
#endif

/* Shorter work ends before another thread could take the lock. */
#define LET_GO_NBYTES (1 << 15)
#define RUN(nbytes, call)                                                                                              \
    do {                                                                                                               \
        PyThreadState *state = (nbytes) >= LET_GO_NBYTES ? PyEval_SaveThread() : NULL;                                 \
        call;                                                                                                          \
        if (state) PyEval_RestoreThread(state);                                                                        \
    } while (0)

static inline Py_ssize_t rows_of(const Py_buffer *view) { return view->itemsize ? view->len / view->itemsize : 0; }

/* Let go of buffers; None, or a ValueError where they did not fit. */
static inline PyObject *finished(Py_buffer *views, int count, int fits, const char *wrong) {
    for (int at = 0; at < count; at++) PyBuffer_Release(&views[at]);
    if (!fits) return PyErr_Format(PyExc_ValueError, "%s", wrong);
    Py_RETURN_NONE;
}

/* arrays.c */
PyObject *fill(PyObject *self, PyObject *args);
PyObject *gather(PyObject *self, PyObject *args);
PyObject *group(PyObject *self, PyObject *args);
PyObject *lay(PyObject *self, PyObject *args);
PyObject *marked(PyObject *self, PyObject *args);
PyObject *overlap(PyObject *self, PyObject *args);
PyObject *pack(PyObject *self, PyObject *args);
PyObject *places(PyObject *self, PyObject *args);

/* symbols.c */
PyObject *learn(PyObject *self, PyObject *args);
PyObject *parse(PyObject *self, PyObject *args);
PyObject *measure(PyObject *self, PyObject *args);
PyObject *unfold(PyObject *self, PyObject *args);

/* vectors.c */
PyObject *best(PyObject *self, PyObject *args);
PyObject *compare(PyObject *self, PyObject *args);
