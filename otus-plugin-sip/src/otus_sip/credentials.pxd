from otus_sip.message cimport SipMessage

cdef void hide_credentials(SipMessage message) noexcept
