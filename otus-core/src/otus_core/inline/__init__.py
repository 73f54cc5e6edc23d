"""What compiled modules share at build time: C structures and inline functions, for ``cimport``, by plugins too.

Each ``.pxd`` here is compiled into whoever cimports it. Nothing of it is imported at run time and there is no binary
interface, so that a plugin that was built against one version of the core runs with another one of the same range.
``docs/plugins.md`` says how to build against it.
"""
