"""What holds for every test."""

from hypothesis import settings

# No example is too slow: tests never judge speed, least of all on a busy machine.
settings.register_profile("fsbench", deadline=None)
settings.load_profile("fsbench")
