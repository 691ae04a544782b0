"""Set up what every test shares."""

import os

from hypothesis import settings

# A busy machine is slow, which is no fault of the code; a continuous integration run is the same each time.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("house")
