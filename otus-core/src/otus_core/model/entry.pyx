"""What compiled plugins reach in the core without going through Python: the functions of ``otus_core.inline.outputs``
in a capsule.
"""

from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int16_t
from libc.string cimport memset

from otus_core.inline.layouts cimport fill_flow
from otus_core.inline.outputs cimport OUTPUTS_VERSION, OutputEntry, OutputView
from otus_core.inline.writer cimport Writer
from otus_core.model.json cimport write_object
from otus_core.model.labels cimport packed_labels
from otus_core.model.output cimport OutputPacket


cdef int _view(object given, OutputView *view) except -1:
    cdef OutputPacket output = <OutputPacket?>given
    view.timestamp = output.at.timestamp
    if output.at.ip_version == 0:
        memset(&view.flow, 0, sizeof(view.flow))
    else:
        fill_flow(&view.flow, output.at.ip_version, output.at.protocol, output.at.src, output.at.src_port,
                  output.at.dst, output.at.dst_port)
    view.vlan = <int16_t>output.at.vlans[0] if output.at.vlan_count else -1
    view.is_record = output.is_record
    view.task_id = <PyObject *>output.task_id
    view.agent_id = <PyObject *>output.agent_id
    view.payload_type = <PyObject *>output.payload_type
    view.payload = <PyObject *>output.payload
    view.raw_payload = <PyObject *>output.raw_payload
    view.key = <PyObject *>output.key
    return 0


cdef object _packed_labels(object output):
    return packed_labels(<OutputPacket?>output)


cdef int _write_json(object output, object packed, Writer *out) except -1:
    cdef bytes labels = packed      # or None
    return write_object(out, <OutputPacket?>output, labels, False, None)


cdef OutputEntry _outputs
_outputs.version = OUTPUTS_VERSION
_outputs.view = _view
_outputs.packed_labels = _packed_labels
_outputs.write_json = _write_json

OUTPUTS = PyCapsule_New(&_outputs, b"otus_core.model.entry.OUTPUTS", NULL)
