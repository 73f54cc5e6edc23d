"""What is shipped, tried as users have it: ``nox -s binary``, ``deb`` and ``wheels -- all`` run these.

Those marked ``on_demand`` need what those sessions make, which ``OTUS_SHIPPED`` names.
"""
