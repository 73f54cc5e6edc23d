"""Labels as bytes, for those who only write them somewhere else: no str and no dict is made of them.

One label after the other: the length of its name and that of its text, each 32 bits, the lowest byte first; the name; the text. Both are UTF-8.
"""


cpdef bytes packed_labels(OutputPacket output):
    """Give the labels packed, ``None`` where they are a dict already, or come from a source that does not pack them."""
    if type(output.named) is dict:
        return None
    pack = getattr(output.named, "packed_labels", None)
    return None if pack is None else <bytes?>pack()
