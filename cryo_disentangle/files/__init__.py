"""Files as the field writes them: MRC, STAR, .cs and pickles, and nothing half-written.

Readers here know a format and nothing of particles: headers are checked before use, values are read
when they are asked for, no pickle runs code, and what cannot be read is refused in a sentence.
"""

from cryo_disentangle.files.arrays import map_array, read_archive
from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.files.cs import CsTable
from cryo_disentangle.files.maps import read_volume, write_volume
from cryo_disentangle.files.mrc import MrcHeader, read_mrc_header
from cryo_disentangle.files.paths import MissingColumnError, readable, replacing
from cryo_disentangle.files.pickles import load_pickles, write_pickles
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.files.star import Column, StarTable, read_star, write_star
from cryo_disentangle.files.text import read_text

__all__ = [
    "Column",
    "CsTable",
    "MissingColumnError",
    "MrcHeader",
    "MrcsWriter",
    "StarTable",
    "load_pickles",
    "map_array",
    "read_archive",
    "read_mrc_header",
    "read_star",
    "read_tensors",
    "read_text",
    "read_volume",
    "readable",
    "replacing",
    "write_pickles",
    "write_star",
    "write_volume",
]
