from .callback import FeatureSpaceUnlearning as FeatureSpaceUnlearning
from .mixture import memorised_split as memorised_split
from .mixture import mixture_split as mixture_split
from .report import CentroidReport as CentroidReport
from .settings import PRESETS as PRESETS
from .settings import CentroidSettings as CentroidSettings
