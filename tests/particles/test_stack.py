from __future__ import annotations

import pickle
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.files.star import write_star
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.pickles import write_ctf, write_indices, write_poses
from cryo_disentangle.types import Pose
from tests.helpers import shared
from tests.particles.conftest import BOX_SIZE, N_IMAGES, Files

_TESTS = "data/cryodrgn_tests"
_GOLDEN = "golden/cryodrgn/dataset"


def _write_stack(path: Path, images: npt.NDArray[np.float32]) -> Path:
    with MrcsWriter(path, images.shape[-1], 1.0) as writer:
        writer.write(images)
    return path


@pytest.mark.parametrize(
    ("name", "count", "box_size", "known"),
    [
        ("hand.mrcs", 100, 64, ""),
        ("toy_projections.mrcs", 1000, 30, ""),
        ("toy_projections_2.txt", 2000, 30, ""),
        ("ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs", 220, 64, ""),
        ("relion31.mrcs", 5, 256, ""),
        ("relion31.star", 5, 256, "poses ctf"),
        ("empiar_10076_7.mrc", 7, 320, ""),
        ("empiar_10076_7.star", 7, 320, "ctf"),
        ("empiar_10076_7.cs", 7, 320, "ctf"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*relion31.star. ignored. _rlnNormCorrection:UserWarning")
def test_real_files_open(name: str, count: int, box_size: int, known: str) -> None:
    stack = ParticleStack.open(shared(f"{_TESTS}/{name}"))
    assert (len(stack), stack.box_size) == (count, box_size)
    assert (stack.rotation is not None) == ("poses" in known)
    assert (stack.ctf is not None) == ("ctf" in known)
    images = stack.read([0, count - 1])
    assert images.shape == (2, box_size, box_size)
    assert images.dtype == np.float32


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("relion5.star", r"relion5\.star, row 1 names toy_images_a\.mrcs, found neither"),
        ("relion31.6opticsgroups.star", r"6opticsgroups\.star, row 1 names .*, found neither"),
        ("FinalRefinement-OriginalParticles-PfCRT.star", r"row 1 names Extract/job012/.*, found"),
        ("cryosparc_P12_J24_001_particles.cs", r"row 1 names J19/extract/.*, found neither"),
        ("cryosparc_J2_particles_exported.cs", r"row 1 names J1/imported/.*, found neither"),
    ],
)
def test_real_tables_without_their_images_are_refused(name: str, message: str) -> None:
    with pytest.raises(FileNotFoundError, match=message):
        ParticleStack.open(shared(f"{_TESTS}/{name}"))


def test_single_tilts_of_a_tilt_series_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sta_testing_bin8\.star: each _rlnGroupName is a series"):
        ParticleStack.open(shared(f"{_TESTS}/sta_testing_bin8.star"))


@pytest.mark.filterwarnings("ignore:.*no pixel size; 1 Å:UserWarning")
def test_one_stack_by_three_names() -> None:
    stack = ParticleStack.open(shared(f"{_TESTS}/toy_projections.mrcs"))
    table = ParticleStack.open(shared(f"{_TESTS}/toy_projections.star"))
    twice = ParticleStack.open(shared(f"{_TESTS}/toy_projections_2.txt"))
    rows = [0, 1, 500, 999]
    np.testing.assert_array_equal(table.read(rows), stack.read(rows))
    np.testing.assert_array_equal(twice.read([*rows, 1500]), stack.read([*rows, 500]))
    assert table.ctf is not None


def test_tables_list_the_images_that_cryodrgn_finds() -> None:
    folder = shared(_GOLDEN)
    order = np.load(shared("golden/cryodrgn/dataset.npz"))["order"]
    poses, ctf = folder / "poses.pkl", folder / "ctf.pkl"
    whole = ParticleStack.open(folder / "particles.mrcs", poses=poses, ctf=ctf)
    listed = ParticleStack.open(folder / "parts.txt", poses=poses, ctf=ctf)
    np.testing.assert_array_equal(listed.read(range(24)), whole.read(range(24)))
    for name in ("parts.star", "parts.cs"):
        table = ParticleStack.open(folder / name)
        np.testing.assert_array_equal(table.read(range(24)), whole.read(order))
        assert table.rotation is not None
        assert table.translation is not None
        golden = np.load(shared("golden/cryodrgn/parse.npz"))
        key = name.replace(".", "_")
        np.testing.assert_allclose(table.rotation, golden[f"{key}/rot"], atol=2e-6)
        # A table's pixels are exact: its fractions times D, where pickles have D + 1.
        np.testing.assert_allclose(table.translation, golden[f"{key}/trans"] * 32, atol=1e-5)
        assert table.pixel_size == pytest.approx(4.0)


def test_a_table_without_pixel_size_takes_the_header_s() -> None:
    with pytest.warns(UserWarning, match=r"r30\.star: no pixel size; 4 Å of the header"):
        stack = ParticleStack.open(shared(f"{_GOLDEN}/r30.star"))
    assert stack.ctf is not None
    np.testing.assert_array_equal(stack.ctf[:, :2], [[32, 4]] * 24)


def test_pickles_and_pixels(files: Files) -> None:
    stack = ParticleStack.open(files.stack, poses=files.poses, ctf=str(files.ctf_file))
    assert len(stack) == N_IMAGES
    assert stack.rotation is not None
    assert stack.translation is not None
    np.testing.assert_array_equal(stack.rotation, files.rotation)
    np.testing.assert_allclose(stack.translation, files.translation_px, rtol=1e-6)
    # 16 px of 1.5 Å cropped in Fourier space to 8 px
    assert stack.pixel_size == 3.0
    bare = ParticleStack.open(files.stack)
    assert bare.rotation is bare.translation is bare.ctf is None
    assert bare.pixel_size == 3.0


@given(rows=st.lists(st.integers(0, N_IMAGES - 1), max_size=20))
@settings(max_examples=30)
def test_images_come_in_the_order_asked_for(
    tmp_path_factory: pytest.TempPathFactory, rows: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("stacks")
    images = np.random.default_rng(0).standard_normal((N_IMAGES, 4, 4), dtype=np.float32)
    for i, part in enumerate(np.split(images, [5, 6])):
        _write_stack(folder / f"{i}.mrcs", part)
    (folder / "all.txt").write_text("0.mrcs\n\n1.mrcs\n2.mrcs\n")
    stack = ParticleStack.open(folder / "all.txt")
    np.testing.assert_array_equal(stack.read(rows), images[rows])


def test_selection_as_cryodrgn_does_it(files: Files, tmp_path: Path) -> None:
    chosen = np.array([7, 2, 2, 11])
    write_indices(tmp_path / "ind.pkl", chosen)
    write_poses(tmp_path / "few.pkl", files.rotation[chosen], None, BOX_SIZE)
    write_ctf(tmp_path / "few_ctf.pkl", files.ctf[chosen])
    for indices in (chosen, chosen.tolist(), tmp_path / "ind.pkl"):
        for poses, ctf in (("poses.pkl", "ctf.pkl"), ("few.pkl", "few_ctf.pkl")):
            stack = ParticleStack.open(
                files.stack, poses=tmp_path / poses, ctf=tmp_path / ctf, indices=indices
            )
            np.testing.assert_array_equal(stack.read(range(4)), files.images[chosen])
            assert stack.rotation is not None
            np.testing.assert_array_equal(stack.rotation, files.rotation[chosen])
            assert stack.ctf is not None
            assert len(stack.ctf) == 4
    assert stack.name(1) == f"3@{files.stack}"


def test_golden_selection() -> None:
    folder, golden = shared(_GOLDEN), np.load(shared("golden/cryodrgn/dataset.npz"))
    stack = ParticleStack.open(
        folder / "particles.mrcs", poses=folder / "poses.pkl", indices=folder / "ind.pkl"
    )
    assert stack.rotation is not None
    assert stack.translation is not None
    np.testing.assert_allclose(stack.rotation, golden["rots_ind"], atol=1e-7)
    np.testing.assert_allclose(stack.translation, golden["trans_pixels_used_ind"], atol=1e-6)


def test_datadir_and_bare_names(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    names = [f"{i + 1}@far/away/stack.mrcs" for i in (4, 0)]
    write_star(folder / "x.star", {"": {"_rlnImageName": names}})
    with pytest.raises(FileNotFoundError, match=r"names far/away/stack\.mrcs, found neither"):
        ParticleStack.open(folder / "x.star")
    stack = ParticleStack.open(folder / "x.star", datadir=tmp_path)
    np.testing.assert_array_equal(stack.read([0, 1]), files.images[[4, 0]])
    (tmp_path / "far" / "away").mkdir(parents=True)
    _write_stack(tmp_path / "far" / "away" / "stack.mrcs", files.images[::-1])
    stack = ParticleStack.open(folder / "x.star", datadir=tmp_path)
    np.testing.assert_array_equal(stack.read([0, 1]), files.images[::-1][[4, 0]])
    with pytest.raises(FileNotFoundError, match=r"datadir .*none: no such folder"):
        ParticleStack.open(folder / "x.star", datadir=tmp_path / "none")


def test_counts_must_agree(files: Files, tmp_path: Path) -> None:
    write_poses(tmp_path / "few.pkl", files.rotation[:5], None, BOX_SIZE)
    write_ctf(tmp_path / "few_ctf.pkl", files.ctf[:5])
    with pytest.raises(ValueError, match=r"few\.pkl: 5 rows, expected one for each image: 12"):
        ParticleStack.open(files.stack, poses=tmp_path / "few.pkl")
    with pytest.raises(ValueError, match=r"few_ctf\.pkl: 5 rows, expected one for each image: 12"):
        ParticleStack.open(files.stack, ctf=tmp_path / "few_ctf.pkl")
    with pytest.raises(ValueError, match=r"few\.pkl: 5 rows, .*: 3 \(selected\) or 12 \(all\)"):
        ParticleStack.open(files.stack, poses=tmp_path / "few.pkl", indices=[1, 2, 3])


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 12], r"indices, entry 2: index 12 is out of range, .*stack\.mrcs has 12 images"),
        ([-1], r"indices, entry 1: index -1 is out of range"),
        ([], r"indices must be integers|no image is selected"),
        (np.zeros(0, dtype=int), r"indices: no image is selected"),
        ([0.5], r"indices must be integers in one dimension, found shape \(1,\) of float64"),
        (np.ones(12, dtype=bool), r"indices must be integers in one dimension.* of bool"),
    ],
)
def test_bad_selections_are_refused(files: Files, indices: npt.ArrayLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(files.stack, indices=indices)


def test_reading_beyond_the_end_is_refused(files: Files) -> None:
    stack = ParticleStack.open(files.stack)
    for index in (12, -1):
        with pytest.raises(IndexError, match=rf"index {index} is out of range for 12 images"):
            stack.read([0, index])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 7, 7), r"x\.mrcs: images are 7 x 7, expected a square with an even side"),
        ((2, 8, 6), r"x\.mrcs: images are 8 x 6, expected a square with an even side"),
    ],
)
def test_odd_boxes_are_refused(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    with mrcfile.new(tmp_path / "x.mrcs") as file:
        file.set_data(np.zeros(shape, dtype=np.float32))
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(tmp_path / "x.mrcs")


def test_boxes_that_disagree_are_refused(tmp_path: Path) -> None:
    _write_stack(tmp_path / "a.mrcs", np.zeros((2, 8, 8), dtype=np.float32))
    _write_stack(tmp_path / "b.mrcs", np.zeros((2, 6, 6), dtype=np.float32))
    (tmp_path / "x.txt").write_text("a.mrcs\nb.mrcs\n")
    with pytest.raises(ValueError, match=r"b\.mrcs: box size 6 disagrees with 8 of .*a\.mrcs"):
        ParticleStack.open(tmp_path / "x.txt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"image 5@.*stack\.mrcs has values that are not finite"),
        (-np.inf, r"image 5@.*stack\.mrcs has values that are not finite"),
        (2.5, r"image 5@.*stack\.mrcs is constant \(2\.5\)"),
    ],
)
def test_spoilt_images_are_named(files: Files, value: float, message: str) -> None:
    images = files.images.copy()
    images[4] = value
    if not np.isfinite(value):
        images[4, 1:] = 0
    _write_stack(files.stack, images)
    stack = ParticleStack.open(files.stack)
    stack.read([0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match=message):
        stack.read([3, 4])
    tolerated = stack.tolerant().read([3, 4])
    np.testing.assert_array_equal(tolerated[0], files.images[3])
    assert np.isnan(tolerated[1]).all()


def test_matrices_that_are_no_rotations_are_named(files: Files) -> None:
    rotation = files.rotation.copy()
    rotation[6] *= 1.1
    write_poses(files.poses, rotation, None, BOX_SIZE)
    with pytest.raises(ValueError, match=r"poses\.pkl, row 7: not a rotation matrix"):
        ParticleStack.open(files.stack, poses=files.poses)


def test_poses_in_any_byte_order_and_type(files: Files) -> None:
    for rotation in (files.rotation.astype(">f8"), np.tile(np.eye(3, dtype=int), (12, 1, 1))):
        rotation.flags.writeable = False
        files.poses.write_bytes(pickle.dumps(rotation, protocol=5))
        stack = ParticleStack.open(files.stack, poses=files.poses)
        assert stack.rotation is not None
        assert stack.rotation.dtype == np.dtype("=f4")
        np.testing.assert_array_equal(stack.rotation, rotation)


def _table(files: Files, **columns: list[object]) -> Path:
    path = files.folder / "x.star"
    labels = {f"_rln{name}": values for name, values in columns.items()}
    write_star(path, {"particles": labels})
    return path


def test_odd_star_rows_are_named(files: Files) -> None:
    with pytest.raises(ValueError, match=r"x\.star: no column _rlnImageName in table data_partic"):
        ParticleStack.open(_table(files, Voltage=[300]))
    with pytest.raises(ValueError, match=r"x\.star, row 2: _rlnImageName is '0@stack\.mrcs'"):
        ParticleStack.open(_table(files, ImageName=["1@stack.mrcs", "0@stack.mrcs"]))
    with pytest.raises(ValueError, match=r"x\.star, row 2: image 13 is out of range, .*has 12 im"):
        ParticleStack.open(_table(files, ImageName=["1@stack.mrcs", "13@stack.mrcs"]))
    with pytest.raises(ValueError, match=r"x\.star: no column _rlnAngleTilt"):
        ParticleStack.open(_table(files, ImageName=["1@stack.mrcs"], AngleRot=[1]))
    with pytest.raises(ValueError, match=r"no column _rlnVoltage.*give optics\.voltage_kv"):
        ParticleStack.open(
            _table(files, ImageName=["1@stack.mrcs"], ImagePixelSize=[3], DefocusU=[1e4])
        )


def test_columns_that_are_not_asked_for_may_be_odd(files: Files) -> None:
    path = _table(files, ImageName=["1@stack.mrcs"], AngleRot=["?"], DefocusU=["?"])
    write_poses(files.poses, files.rotation[:1], None, BOX_SIZE)
    write_ctf(files.ctf_file, files.ctf[:1])
    assert len(ParticleStack.open(path, poses=files.poses, ctf=files.ctf_file)) == 1


def test_pixel_sizes_that_differ_are_told(files: Files) -> None:
    files.ctf[3:, 1] = 1.6
    write_ctf(files.ctf_file, files.ctf)
    with pytest.warns(UserWarning, match=r"pixel sizes differ \(3 to 3\.2 Å\); .*particle, 3 Å"):
        stack = ParticleStack.open(files.stack, ctf=files.ctf_file)
    assert stack.pixel_size == 3.0


def test_odd_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.mrcs: no such file"):
        ParticleStack.open(tmp_path / "none.mrcs")
    (tmp_path / "x.tif").write_bytes(b"II")
    with pytest.raises(ValueError, match=r"x\.tif: unknown kind of particle file, expected \.mrcs"):
        ParticleStack.open(tmp_path / "x.tif")
    (tmp_path / "x.txt").write_text("\n\n")
    with pytest.raises(ValueError, match=r"x\.txt: no stack is listed"):
        ParticleStack.open(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_text("\nfar.mrcs\n")
    with pytest.raises(FileNotFoundError, match=r"x\.txt, line 2 names far\.mrcs, found neither"):
        ParticleStack.open(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes(b"\xff\x00")
    with pytest.raises(ValueError, match=r"x\.txt: not a list of stacks: byte"):
        ParticleStack.open(tmp_path / "x.txt")


def test_poses_at_hand_are_in_pixels() -> None:
    files = [shared(f"{_GOLDEN}/{name}") for name in ("particles.mrcs", "poses.pkl")]
    read = ParticleStack.open(files[0], poses=files[1])
    assert read.rotation is not None
    assert read.translation is not None
    known = Pose(torch.from_numpy(read.rotation), torch.from_numpy(read.translation))
    chosen = ParticleStack.open(files[0], poses=known, indices=[7, 3])
    assert np.array_equal(chosen.rotation, read.rotation[[7, 3]])  # type: ignore[arg-type]
    assert np.array_equal(chosen.translation, read.translation[[7, 3]])  # type: ignore[arg-type]
    assert ParticleStack.open(files[0], poses=Pose(known.rotation)).translation is None
    few = Pose(known.rotation[:5])
    with pytest.raises(ValueError, match="poses: 5 rows, expected one for each image: 24"):
        ParticleStack.open(files[0], poses=few)


def test_volumes_are_no_stacks_of_images(tmp_path: Path) -> None:
    cube = np.random.default_rng(0).standard_normal((8, 8, 8), dtype=np.float32)
    with mrcfile.new(tmp_path / "map.mrcs") as file:
        file.set_data(cube)
    with pytest.raises(ValueError, match=r"map\.mrcs: 3-D volume\(s\) of 8 x 8 x 8"):
        ParticleStack.open(tmp_path / "map.mrcs")
    write_star(tmp_path / "x.star", {"particles": {"_rlnImageName": ["map.mrcs"] * 2}})
    with pytest.raises(ValueError, match=r"map\.mrcs: 3-D volume\(s\)"):
        ParticleStack.open(tmp_path / "x.star")
    with mrcfile.new(tmp_path / "many.mrc") as file:
        file.set_data(np.zeros((2, 4, 4, 4), dtype=np.float32))
    with pytest.raises(ValueError, match=r"many\.mrc: 3-D volume\(s\) .*space group 401"):
        ParticleStack.open(tmp_path / "many.mrc")
    # cryoSPARC's maps and stacks have the same header.
    for name in ("map.mrc", "stack.mrcs"):
        with mrcfile.new(tmp_path / name) as file:
            file.set_data(cube)
            file.header.ispg = 0
    with pytest.raises(ValueError, match=r"map\.mrc: 8 x 8 x 8 voxels may be a 3-D map as well"):
        ParticleStack.open(tmp_path / "map.mrc")
    assert len(ParticleStack.open(tmp_path / "stack.mrcs")) == 8
    with MrcsWriter(tmp_path / "ours.mrc", 8, 1.0) as writer:
        writer.write(cube)
    assert len(ParticleStack.open(tmp_path / "ours.mrc")) == 8
