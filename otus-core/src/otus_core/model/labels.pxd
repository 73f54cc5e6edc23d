from otus_core.model.output cimport OutputPacket


cpdef bytes packed_labels(OutputPacket output)
