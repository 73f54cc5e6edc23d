"""What is shipped, tried as users have it: ``nox -s binary``, ``deb`` and ``wheels -- all`` run these.

They need what those sessions make, which ``OTUS_SHIPPED`` names, and are skipped where it is not set.
"""
