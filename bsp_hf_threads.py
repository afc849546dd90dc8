"""Lets waiting threads of a program sleep; imported before torch, whose libraries look once.

Threads of OpenMP that wait for each other spin by default. On cores that they share with another program they
take away the time that the others of them need: beside one busy process, two such threads train five times as
slowly as one. What the user has set stays as it is.
"""

import os

_SETTINGS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

if not any(name in os.environ for name in (*_SETTINGS, "KMP_BLOCKTIME")):
    os.environ.update(_SETTINGS)
