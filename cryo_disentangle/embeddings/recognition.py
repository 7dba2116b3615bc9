"""Which program a folder or file comes from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryo_disentangle.embeddings.arrays import (
    ARRAYS,
    is_own_run,
    read_array,
    read_cryostar,
    read_eman2,
    read_own,
)
from cryo_disentangle.embeddings.cryodrgn import (
    is_opus_run,
    read_cryodrgn,
    read_drgnai,
    read_opus,
)
from cryo_disentangle.embeddings.cryosparc import is_cryosparc_job, read_cryosparc
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.embeddings.recovar import read_recovar
from cryo_disentangle.embeddings.relion import (
    is_flex_analysis,
    is_multi_body,
    read_multi_body,
    read_projections,
)
from cryo_disentangle.embeddings.statistics import is_statistics, read_statistics
from cryo_disentangle.embeddings.xmipp import is_xmipp_run, read_xmipp

__all__ = ["open_embedding"]


class _Tool(NamedTuple):
    """A program: its name, what marks a folder of it, and its reader."""

    name: str
    marks: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str | None], Embedding]


def _numbered(folder: Path, kind: str) -> bool:
    return (folder / f"{kind}.pkl").is_file() or any(folder.glob(f"{kind}.*.pkl"))


_TOOLS = (
    _Tool("cryo-disentangle", "config.yaml with checkpoints", is_own_run, read_own),
    _Tool(
        "RECOVAR", "model/params.pkl", lambda f: (f / "model/params.pkl").is_file(), read_recovar
    ),
    _Tool(
        "DRGN-AI",
        "out/drgnai-configs.yaml",
        lambda f: any((f / o / "drgnai-configs.yaml").is_file() for o in ("out", ".")),
        lambda f, _: read_drgnai(f),
    ),
    _Tool(
        "OPUS-DSD",
        "z.N.pkl of torch.save, or with config.pkl",
        is_opus_run,
        lambda f, key: read_opus(f, key=key),
    ),
    _Tool(
        "cryoDRGN",
        "z.pkl or z.N.pkl",
        lambda f: _numbered(f, "z") and not is_opus_run(f),
        lambda f, _: read_cryodrgn(f),
    ),
    _Tool(
        "cryoSPARC",
        "*particles.cs with components_mode_0/value",
        is_cryosparc_job,
        lambda f, _: read_cryosparc(f),
    ),
    _Tool(
        "EMAN2 e2gmm",
        "mid_*.txt",
        lambda f: any(f.glob("mid_*.txt")),
        lambda f, key: read_eman2(f, key),
    ),
    _Tool("RELION", "run_data.star with data_images_body_1", is_multi_body, read_multi_body),
    _Tool(
        "relion_flex_analyse",
        "analyse_projections_along_eigenvectors_all_particles.txt",
        is_flex_analysis,
        lambda f, _: read_projections(f),
    ),
    _Tool(
        "HetSIREN or Zernike3Deep",
        ".xmd with latent_space or zernikeCoefficients",
        is_xmipp_run,
        lambda f, _: read_xmipp(f),
    ),
    _Tool(
        "cryoSTAR or cryoSPHERE",
        "z.npy",
        lambda f: (f / "z.npy").is_file() or any(f.glob("[0-9]*_[0-9]*/z.npy")),
        lambda f, _: read_cryostar(f),
    ),
    _Tool(
        "cryo-disentangle statistics",
        "statistics.json",
        is_statistics,
        lambda f, _: read_statistics(f),
    ),
)


def open_embedding(path: str | Path, key: str | None = None) -> Embedding:
    """Reads the latents of a finished run of any known program, or of a file.

    Args:
        path: Folder of the run, or file of latents.
        key: Which of several latents, by the program's own name: ``10_noreg`` of RECOVAR,
            ``translations`` of RELION, ``multi_mu`` of OPUS-DSD, an array of an ``.npz``.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If there is nothing there, or no program's marks.
        ValueError: If there are marks of two programs, or a file is damaged.
    """
    path = Path(path)
    if path.is_file():
        return _open_file(path, key)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such file or folder")
    found = [tool for tool in _TOOLS if tool.recognises(path)]
    if not found:
        looked = "; ".join(f"{tool.marks} ({tool.name})" for tool in _TOOLS)
        raise FileNotFoundError(
            f"{path}: a run of no known program, looked for {looked}; name a file of latents "
            f"({', '.join(ARRAYS)}) instead"
        )
    if len(found) > 1:
        raise ValueError(
            f"{path}: holds files of {' and of '.join(tool.name for tool in found)}; name the file "
            "of latents"
        )
    return found[0].read(path, key)


def _open_file(path: Path, key: str | None) -> Embedding:
    """Reads one file of latents, by its suffix and what it holds."""
    suffix = path.suffix.lower()
    if suffix == ".cs":
        return read_cryosparc(path)
    if suffix == ".star" and is_multi_body(path):
        return read_multi_body(path, key)
    if suffix in (".xmd", ".star"):
        return read_xmipp(path)
    if is_flex_analysis(path):
        return read_projections(path)
    numbered = re.fullmatch(r"z(?:\.(\d+))?", path.stem)
    if suffix == ".pkl" and numbered and is_opus_run(path.parent):
        return read_opus(path.parent, None if numbered[1] is None else int(numbered[1]), key)
    return read_array(path, key)
