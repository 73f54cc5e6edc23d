"""What a capturer says of a frame beside its bytes: who captured it, where, and what it belongs to.

Metadata become labels, ``capture.`` and the field's name, so that filters, reporters and the spool know them without
knowing of metadata. A frame without any costs nothing.
"""

import re
from types import MappingProxyType

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from otus_core.inline.labels cimport store_little

FIELDS_MAX = 16
"""Fields of one frame."""
FIELD_TEXT_MAX = 256
"""Characters of a field; it may come from a packet."""

cdef object _NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


cdef bytes _pack_label(str name, str text):
    cdef bytes encoded_name = name.encode()
    cdef bytes encoded = text.encode()
    cdef char[8] head
    store_little(head, <uint32_t>len(encoded_name))
    store_little(head + 4, <uint32_t>len(encoded))
    return head[:8] + encoded_name + encoded


@cython.final
cdef class FrameMetadata:
    """Fields of one frame or of many: made once for constant ones, and given to ``FrameBatch`` or ``RawPacket``.

    Names are a-z, 0-9 and ``_``, at most 32; texts are cut to 256 characters, and an empty one is left out. ``fields``
    is a mapping of names to texts that cannot be changed. Raises ValueError and TypeError.
    """

    def __init__(self, fields):
        cdef dict made = {}
        for name, text in dict(fields).items():
            if type(name) is not str or not _NAME.fullmatch(name):
                raise ValueError(f"a field of frame metadata is named by up to 32 of a-z, 0-9 and _, not {name!r:.60}")
            if type(text) is not str:
                raise TypeError(f"the field {name!r} of frame metadata is {type(text).__name__}, not str")
            if text:
                made[name] = (<str>text)[:FIELD_TEXT_MAX].encode("utf-8", "replace").decode()
        if len(made) > FIELDS_MAX:
            raise ValueError(f"frame metadata have at most {FIELDS_MAX} fields, not {len(made)}")
        self.fields = MappingProxyType(made)
        self.labels = {"capture." + name: text for name, text in made.items()}
        self.packed = b"".join([_pack_label(name, text) for name, text in self.labels.items()])

    def __repr__(self):
        return f"FrameMetadata({dict(self.fields)!r})"


@cython.no_gc
@cython.freelist(64)
cdef class CapturedLabels:
    """A source of labels with the labels of metadata behind them."""

    cdef object source
    cdef FrameMetadata metadata

    def label(self, str name not None):
        """Give one label, or ``None``."""
        found = self.metadata.labels.get(name)
        return self.source.label(name) if found is None else found

    def labels(self):
        """Give all labels."""
        made = self.source.labels()
        made.update(self.metadata.labels)
        return made


@cython.final
@cython.no_gc
cdef class PackedCapturedLabels(CapturedLabels):
    """The same of a source that packs its labels."""

    def packed_labels(self):
        """Give all labels packed."""
        return <bytes?>self.source.packed_labels() + self.metadata.packed


cdef object add_captured_labels(object labels, FrameMetadata metadata):
    """Give labels, a dict or a source, with those of metadata, which may be ``None``."""
    cdef CapturedLabels made
    if metadata is None:
        return labels
    if type(labels) is dict:
        return {**<dict>labels, **metadata.labels}
    if getattr(type(labels), "packed_labels", None) is None:
        made = CapturedLabels.__new__(CapturedLabels)
    else:
        made = PackedCapturedLabels.__new__(PackedCapturedLabels)
    made.source, made.metadata = labels, metadata
    return made
