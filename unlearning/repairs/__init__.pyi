from .core import Repair as Repair
from .core import repair as repair
from .find import Found as Found
from .find import detect as detect
from .settings import DetectSettings as DetectSettings
