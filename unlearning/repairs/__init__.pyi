from .core import Repair as Repair
from .core import repair as repair
from .find import detect as detect
from .found import Found as Found
from .settings import DetectSettings as DetectSettings
