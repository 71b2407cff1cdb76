"""Settings of all tests."""

from hypothesis import settings

# A shared or cold machine must not fail a test by its speed; timings live in benchmarks/.
settings.register_profile("default", deadline=None, print_blob=True)
settings.load_profile("default")
