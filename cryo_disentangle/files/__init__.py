"""Files as the field writes them: MRC, STAR, .cs and pickles, and nothing half-written.

Readers here know a format and nothing of particles: headers are checked before use, values are read
when they are asked for, no pickle runs code, and what cannot be read is refused in a sentence.
"""

from cryo_disentangle.files.maps import read_volume, write_volume

__all__ = [
    "read_volume",
    "write_volume",
]
