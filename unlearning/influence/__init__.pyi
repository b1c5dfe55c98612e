from .conjugate_gradients import ConjugateGradient as ConjugateGradient
from .head import Head as Head
from .objective import Objective as Objective
from .problem import InfluenceProblem as InfluenceProblem
from .rows import RowStore as RowStore
from .settings import FeatureSettings as FeatureSettings
from .solvers import Lissa as Lissa
from .solvers import solve_dense as solve_dense
