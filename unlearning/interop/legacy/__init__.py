"""Models in formats that Keras 3 no longer reads, or reads only in part: HDF5 files and SavedModels of Keras 2.

A file is read in this order: its configuration as JSON (`reading`), which is refused for code of its own before
anything is made of it (`vetting`); then the layers in the words of Keras 3 (`layers`, `operations`), the graph
(`building`), and the weights by the layer and the kind that they are of (`reading`). Nothing in the file is run.
"""

from unlearning.interop.legacy.converting import FORMATS, Converted, convert_model

__all__ = ["FORMATS", "Converted", "convert_model"]
