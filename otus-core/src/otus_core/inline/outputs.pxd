"""Outputs as compiled reporters read them: what ``OutputPacket`` says, without an object for each answer.

In: an ``OutputPacket``. Out: a C structure, packed labels, and JSON written straight into a ``Writer``. The functions
are the core's own, reached through a capsule (https://docs.python.org/3/c-api/capsule.html) that says which version of
this file it was made for; whatever they do, the methods and functions of Python do as well.
"""

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int16_t, int64_t

from otus_core.inline.layouts cimport Flow
from otus_core.inline.writer cimport Writer

cdef extern from "Python.h":
    object PyImport_ImportModule(const char *)

cdef enum:
    OUTPUTS_VERSION = 2


# What an output says. References are borrowed: they are good for as long as the output is held.
cdef struct OutputView:
    int64_t timestamp           # ns since 1970
    Flow flow                   # its version is 0, and all else, where there are no addresses
    int16_t vlan                # the outermost, -1 where there is none
    bint is_record
    PyObject *task_id           # str
    PyObject *agent_id          # str
    PyObject *payload_type      # str
    PyObject *payload
    PyObject *raw_payload       # bytes
    PyObject *key               # str or None


cdef struct OutputEntry:
    int version
    # Raises TypeError for what is no OutputPacket
    int (*view)(object output, OutputView *view) except -1
    # bytes, or None where labels are not to be had packed (see otus_core.packed_labels)
    object (*packed_labels)(object output)
    # Writes what otus_core.encode_json gives, and raises what that raises, before anything is written; ``packed`` is
    # what packed_labels gave. It may run foreign code, which must not reach ``out``
    int (*write_json)(object output, object packed, Writer *out) except -1


cdef inline const OutputEntry *output_entry() except NULL:
    """Give the functions; once for each module, when it is imported. Raises ImportError where the core is another."""
    cdef object module = PyImport_ImportModule(b"otus_core.model.entry")
    cdef const OutputEntry *entry = <const OutputEntry *>PyCapsule_GetPointer(
        module.OUTPUTS, b"otus_core.model.entry.OUTPUTS"
    )
    if entry.version != OUTPUTS_VERSION:
        raise ImportError(f"compiled for version {<int>OUTPUTS_VERSION} of the core's outputs, not {entry.version}")
    return entry
