from .estimates import estimate_share as estimate_share
from .sampling import draw_sample as draw_sample
