"""Labels as bytes, for those who only write them somewhere else: no str and no dict is made of them.

One label after the other: the length of its name and that of its text, each 32 bits, the lowest byte first; the name;
the text. Both are UTF-8.
"""


# The class of the last source that packs its labels: parsers give one class again and again.
cdef object _known_source = dict


cpdef bytes packed_labels(OutputPacket output):
    """Give the labels packed, ``None`` where they are a dict already, or come from a source that does not pack them."""
    global _known_source
    cdef object source = output.named
    if type(source) is dict:
        return None
    if type(source) is not _known_source:
        if getattr(type(source), "packed_labels", None) is None:
            return None
        _known_source = type(source)
    return <bytes?>source.packed_labels()
