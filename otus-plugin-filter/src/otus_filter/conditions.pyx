# cython: auto_pickle=False
"""What is asked of each message: a tree of conditions, each one C call.

A condition that compares is false where an operand is ``None``. Conditions lie inside each other as deep as the grammar
allows, which bounds the recursion.
"""

cimport cython
from cpython.object cimport Py_EQ, Py_GE, Py_GT, Py_LE, Py_LT, Py_NE, PyObject_RichCompareBool
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_Tailmatch
from libc.string cimport memcmp

from otus_core import OutputPacket

from otus_filter.operands cimport Operand

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef dict _SIGNS = {"==": Py_EQ, "!=": Py_NE, "<": Py_LT, "<=": Py_LE, ">": Py_GT, ">=": Py_GE}
cdef dict _SIDES = {"contains": 0, "startswith": -1, "endswith": 1}
cdef object _label = OutputPacket.label


cdef class Condition:
    """What a message fulfils or does not."""

    cdef bint holds(self, object output) except -1:
        raise NotImplementedError


cdef inline bint _compare(long long a, long long b, int sign) noexcept:
    if sign == Py_EQ:
        return a == b
    if sign == Py_NE:
        return a != b
    if sign == Py_LT:
        return a < b
    if sign == Py_LE:
        return a <= b
    return a > b if sign == Py_GT else a >= b


cdef inline bint _equal(str a, str b) noexcept:
    cdef Py_ssize_t size = PyUnicode_GET_LENGTH(a)
    cdef int kind = PyUnicode_KIND(a)
    # Python stores a text with the fewest bytes a character that hold it (PEP 393): equal texts have one kind.
    if PyUnicode_GET_LENGTH(b) != size or PyUnicode_KIND(b) != kind:
        return False
    return memcmp(PyUnicode_DATA(a), PyUnicode_DATA(b), size * kind) == 0


@cython.final
cdef class LabelIs(Condition):
    """A label that is exactly a text: what most filters ask."""

    cdef str name
    cdef str text

    def __init__(self, str name not None, str text not None):
        self.name = name
        self.text = text

    cdef bint holds(self, object output) except -1:
        value = _label(output, self.name)
        if type(value) is str:
            return _equal(<str>value, self.text)
        return value == self.text


@cython.final
cdef class Comparison(Condition):
    """Two operands by ``== != < <= > >=``."""

    cdef Operand left
    cdef int sign
    cdef Operand right

    def __init__(self, Operand left not None, str sign not None, Operand right not None):
        self.left = left
        self.sign = _SIGNS[sign]
        self.right = right

    cdef bint holds(self, object output) except -1:
        left = self.left.of(output)
        if left is None:
            return False
        right = self.right.of(output)
        if right is None:
            return False
        # Nearly always numbers of 64 bits, as ports and labels are (``DIGITS_MAX``): compared without making Python
        # objects.
        if type(left) is int and type(right) is int:
            return _compare(left, right, self.sign)
        return PyObject_RichCompareBool(left, right, self.sign)


@cython.final
cdef class Part(Condition):
    """A text that another one ``contains``, or with which it ``startswith`` or ``endswith``."""

    cdef Operand left
    cdef int side
    cdef Operand right

    def __init__(self, Operand left not None, str side not None, Operand right not None):
        self.left = left
        self.side = _SIDES[side]
        self.right = right

    cdef bint holds(self, object output) except -1:
        text = self.left.of(output)
        if text is None:
            return False
        part = self.right.of(output)
        if part is None:
            return False
        if self.side == 0:
            return part in text
        return PyUnicode_Tailmatch(text, part, 0, PY_SSIZE_T_MAX, self.side)


@cython.final
cdef class Tested(Condition):
    """A text of which a function says whether it fits."""

    cdef Operand left
    cdef object test

    def __init__(self, Operand left not None, test not None):
        self.left = left
        self.test = test

    cdef bint holds(self, object output) except -1:
        text = self.left.of(output)
        return text is not None and self.test(text)


@cython.final
cdef class Among(Condition):
    """An operand that is one of several values; with ``absent``, one that is there and none of them."""

    cdef Operand left
    cdef frozenset values
    cdef bint absent

    def __init__(self, Operand left not None, frozenset values not None, bint absent=False):
        self.left = left
        self.values = values
        self.absent = absent

    cdef bint holds(self, object output) except -1:
        value = self.left.of(output)
        return value is not None and (value in self.values) != self.absent


@cython.final
cdef class Network:
    """A network by its mask and its address, both packed."""

    cdef bytes mask
    cdef bytes base

    def __init__(self, bytes mask not None, bytes base not None):
        if len(mask) != len(base):
            raise ValueError("mask and address are not of one IP version")
        self.mask = mask
        self.base = base

    cdef bint has(self, bytes address) noexcept:
        cdef const unsigned char *mask = self.mask
        cdef const unsigned char *base = self.base
        cdef const unsigned char *given = address
        cdef Py_ssize_t size = len(self.base)
        cdef Py_ssize_t i
        # An IPv4 address is in no IPv6 network, and the other way round.
        if len(address) != size:
            return False
        for i in range(size):
            if given[i] & mask[i] != base[i]:
                return False
        return True


@cython.final
cdef class Within(Condition):
    """An address in one of several networks."""

    cdef Operand left
    cdef tuple networks

    def __init__(self, Operand left not None, networks):
        self.left = left
        self.networks = tuple([<Network?>network for network in networks])

    cdef bint holds(self, object output) except -1:
        cdef bytes address = self.left.of(output)
        if address is None:
            return False
        for network in self.networks:
            if (<Network>network).has(address):
                return True
        return False


@cython.final
cdef class Negation(Condition):
    """The contrary of a condition."""

    cdef Condition operand

    def __init__(self, Condition operand not None):
        self.operand = operand

    cdef bint holds(self, object output) except -1:
        return not self.operand.holds(output)


@cython.final
cdef class AllOf(Condition):
    """Conditions that all hold; the first that does not ends the search."""

    cdef tuple operands

    def __init__(self, operands):
        self.operands = tuple([<Condition?>operand for operand in operands])

    cdef bint holds(self, object output) except -1:
        for operand in self.operands:
            if not (<Condition>operand).holds(output):
                return False
        return True


@cython.final
cdef class AnyOf(Condition):
    """Conditions of which one holds; the first that does ends the search."""

    cdef tuple operands

    def __init__(self, operands):
        self.operands = tuple([<Condition?>operand for operand in operands])

    cdef bint holds(self, object output) except -1:
        for operand in self.operands:
            if (<Condition>operand).holds(output):
                return True
        return False


@cython.final
cdef class Verdict:
    """A condition, and the fate of what it holds of."""

    cdef Condition condition
    cdef object keep

    def __init__(self, Condition condition not None, keep):
        self.condition = condition
        self.keep = bool(keep)


@cython.final
cdef class Verdicts:
    """What becomes of a message: the first verdict whose condition holds decides, else ``default``."""

    cdef tuple verdicts
    cdef object default

    def __init__(self, verdicts, default):
        self.verdicts = tuple([<Verdict?>verdict for verdict in verdicts])
        self.default = bool(default)

    @cython.always_allow_keywords(False)
    def process(self, output):
        """Say whether the message is kept."""
        for verdict in self.verdicts:
            if (<Verdict>verdict).condition.holds(output):
                return (<Verdict>verdict).keep
        return self.default
