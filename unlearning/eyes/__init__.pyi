from .base import Eyes as Eyes
from .base import see as see
from .opening import open_eyes as open_eyes
