"""What Linux offers to a process that gives up rights, and Python does not: prctl(2), capget(2), capset(2), seccomp(2).
"""

import os

from libc.errno cimport errno
from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <linux/capability.h>
    #include <linux/filter.h>
    #include <linux/seccomp.h>
    #include <sys/prctl.h>
    #include <sys/syscall.h>
    #include <unistd.h>

    static int otus_prctl(int option, unsigned long value) {
        return prctl(option, value, 0UL, 0UL, 0UL);
    }

    static int otus_death_signal(int *signal) {
        return prctl(PR_GET_PDEATHSIG, signal, 0UL, 0UL, 0UL);
    }

    static int otus_capset(uint64_t effective, uint64_t permitted, uint64_t inheritable) {
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct sets[2] = {
            {(uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable},
            {(uint32_t)(effective >> 32), (uint32_t)(permitted >> 32), (uint32_t)(inheritable >> 32)},
        };
        return (int)syscall(SYS_capset, &header, sets);
    }

    static int otus_capget(uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) {
        struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
        struct __user_cap_data_struct sets[2];
        if (syscall(SYS_capget, &header, sets) != 0) {
            return -1;
        }
        *effective = sets[0].effective | (uint64_t)sets[1].effective << 32;
        *permitted = sets[0].permitted | (uint64_t)sets[1].permitted << 32;
        *inheritable = sets[0].inheritable | (uint64_t)sets[1].inheritable << 32;
        return 0;
    }

    static int otus_filter(const char *program, unsigned short count) {
        struct sock_fprog filter = {count, (struct sock_filter *)program};
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0UL, 0UL);
    }
    """
    int _prctl "otus_prctl" (int option, unsigned long value) nogil
    int _death_signal "otus_death_signal" (int *signal) nogil
    int _capset "otus_capset" (uint64_t effective, uint64_t permitted, uint64_t inheritable) nogil
    int _capget "otus_capget" (uint64_t *effective, uint64_t *permitted, uint64_t *inheritable) nogil
    int _filter "otus_filter" (const char *program, unsigned short count) nogil
    enum: INSTRUCTION "sizeof(struct sock_filter)"


def prctl(int option, unsigned long value):
    """Call prctl(2) with one argument; says whether the kernel did it."""
    return _prctl(option, value) == 0


def get_death_signal():
    """Give the signal that this process gets when its parent ends, 0 for none (PR_GET_PDEATHSIG)."""
    cdef int signal = 0
    return signal if _death_signal(&signal) == 0 else 0


def get_capabilities():
    """Give this thread's capabilities, a bit for each: effective, permitted, inheritable (capget(2)).

    Raises OSError.
    """
    cdef uint64_t effective = 0
    cdef uint64_t permitted = 0
    cdef uint64_t inheritable = 0
    if _capget(&effective, &permitted, &inheritable) != 0:
        code = errno
        raise OSError(code, f"capget: {os.strerror(code)}")
    return effective, permitted, inheritable


def set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable):
    """Set this thread's capabilities, a bit for each (capset(2)). Raises OSError."""
    if _capset(effective, permitted, inheritable) != 0:
        code = errno
        raise OSError(code, f"capset: {os.strerror(code)}")


def set_filter(bytes program not None):
    """Have the kernel ask a filter about every system call from now on; says whether it does.

    ``program`` is an array of ``struct sock_filter`` (linux/filter.h). PR_SET_NO_NEW_PRIVS comes first.
    """
    return _filter(program, <unsigned short>(len(program) // INSTRUCTION)) == 0
