"""What a person decides about suspects: a page to look at them, an audit by a few answers, and other people's tools.

`sheet` is what a person is asked about, `page` the file that asks, `sampling` and `auditing` what fifty answers say of
all rows, `exchange` the forms in which decisions leave and come back.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
