from .afresh import draw_afresh as draw_afresh
from .batches import ShuffledBatches as ShuffledBatches
from .compiling import OptimizerStart as OptimizerStart
from .fit import TrainingDivergedError as TrainingDivergedError
from .fit import TrainReport as TrainReport
from .fit import building_context as building_context
from .fit import train as train
from .settings import TrainSettings as TrainSettings
