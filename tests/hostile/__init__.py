"""What an attacker, or a bad day, does to Otus: on real processes, short in CI; ``nox -s hostile -- SECONDS`` goes on
for longer.
"""
