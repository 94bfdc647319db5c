"""Training on several processes and machines, by MPI or NCCL: ``pip install "dlskills[mpi]"``.

``mpiexec -n 4 python script.py`` starts four processes, the *ranks* 0 to 3. Each runs the whole
script; ``Trainer(..., communicator=mpi())`` then shares the work of every batch among them.
"""

from dlskills.distributed.communicator import Communicator
from dlskills.distributed.data_parallel import DataParallel
from dlskills.distributed.mpi import mpi
from dlskills.distributed.nccl import nccl
from dlskills.distributed.sharded import Sharded

__all__ = ["Communicator", "DataParallel", "Sharded", "mpi", "nccl"]
