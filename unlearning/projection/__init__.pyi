from .callback import ScaledActivationProjection as ScaledActivationProjection
from .search import ProjectionReport as ProjectionReport
from .selection import select_trusted as select_trusted
from .settings import ProjectionSettings as ProjectionSettings
