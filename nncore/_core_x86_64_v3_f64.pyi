from nncore._core import *

__test__: dict[str, str]
