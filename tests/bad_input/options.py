"""Wrong words and wrong configurations of ``fit``, and words that are no command."""

from __future__ import annotations

from tests.bad_input.workspace import Kind, replace, write

_LINEAR = "--model.kl_weight.class_path=LinearSchedule"
_FIRST = "--model.kl_weight.init_args.first"
_LAST = "--model.kl_weight.init_args.last"
_STEP = "--model.kl_weight.init_args.last_step"


def _fit(name: str, said: str, *words: str) -> Kind:
    return Kind(name, "fit", said, words)


def _yaml(name: str, said: str, content: str | bytes) -> Kind:
    return Kind(name, "fit", said, spoil=write("run.yaml", content))


OPTIONS = (
    Kind("no such command", "fitt", "did you mean 'fit'"),
    Kind("an option for a command", "--config", "no command '--config'"),
    Kind(
        "no options at all",
        "fit",
        "the following arguments are required: fit.data, fit.model",
        ("!",),
    ),
    _fit("an unknown option", "unrecognized arguments: --nothing=1", "--nothing=1"),
    _fit("a stray word", "unrecognized arguments: stray", "stray"),
    _fit(
        "an option without its value",
        "argument --trainer.max_epochs: expected one a",
        "--trainer.max_epochs",
    ),
    _fit(
        "an unknown option of the model",
        "model: HeterogeneousReconstruction: there is ",
        "--model.conformation_dims=3",
    ),
    _fit(
        "an unknown option of the data",
        "data: ParticleData: there is no option 'batch",
        "--data.batchsize=3",
    ),
    _fit(
        "a word for a number",
        "model.conformation_dim: expected int, found '",
        "--model.conformation_dim=x",
    ),
    _fit(
        "a fraction for a whole number",
        "model.conformation_dim: expected int, found '",
        "--model.conformation_dim=2.5",
    ),
    _fit(
        "a list for a number",
        "model.conformation_dim: expected int, found '",
        "--model.conformation_dim=[2]",
    ),
    _fit(
        "a number below its range",
        "conformation_dim must be at least 1, found 0",
        "--model.conformation_dim=0",
    ),
    _fit(
        "a share above 1",
        "coefficient_share must be above 0 and at most",
        "--model.coefficient_share=2",
    ),
    _fit(
        "a word of a choice",
        "model.lr_interval: expected Literal['step', '",
        "--model.lr_interval=week",
    ),
    _fit(
        "a negative weight", "the weight of a penalty must be finite and >=", "--model.kl_weight=-1"
    ),
    _fit(
        "a weight that is not a number",
        "the weight of a penalty must be finite and >=",
        "--model.kl_weight=.nan",
    ),
    _fit(
        "a schedule of no number",
        "a schedule runs between finite values, found first=nan and",
        _LINEAR,
        f"{_FIRST}=.nan",
        f"{_LAST}=1",
        f"{_STEP}=5",
    ),
    _fit(
        "a schedule without end",
        "a schedule runs between finite values, found first=0.0 and",
        _LINEAR,
        f"{_FIRST}=0",
        f"{_LAST}=.inf",
        f"{_STEP}=5",
    ),
    _fit(
        "a schedule backwards",
        "a linear schedule needs 0 <= first_step < las",
        _LINEAR,
        f"{_FIRST}=0",
        f"{_LAST}=1",
        f"{_STEP}=-1",
    ),
    _fit(
        "a schedule that lacks a value",
        "model.kl_weight: LinearSchedule: the followin",
        _LINEAR,
        f"{_FIRST}=0",
    ),
    _fit(
        "an unknown encoder",
        "model.encoder: expected a class that is impor",
        "--model.encoder=MLPEncodr",
    ),
    _fit(
        "an unknown prior",
        "model.prior: expected a class that is importe",
        "--model.prior=StandardNormals",
    ),
    _fit(
        "an unknown penalty",
        "model.penalties: expected a class that is imp",
        "--model.penalties.p=DIPVAE2",
    ),
    _fit(
        "an unknown optimiser",
        "model.optimizer: module 'torch.optim' has no attribute 'Adamm'",
        "--model.optimizer=torch.optim.Adamm",
    ),
    _fit(
        "an unknown option of the optimiser",
        "model.optimizer: Adam: there is no option 'lrate'",
        "--model.optimizer.lrate=1",
    ),
    _fit(
        "a learning rate of a word",
        "model.optimizer.lr: expected a class that is imported, or its",
        "--model.optimizer.lr=fast",
    ),
    _fit(
        "an unknown option of a prior",
        "model.prior: StandardNormal: there is no opti",
        "--model.prior=StandardNormal",
        "--model.prior.x=3",
    ),
    _fit(
        "a decoder for an encoder",
        "an encoder needs forward(features), which ret",
        "--model.encoder=ImplicitDecoder",
    ),
    _fit(
        "a class of a missing module",
        "model: Model: No module named 'nowhere'",
        "--model=nowhere.Model",
    ),
    _fit(
        "a class that is no model",
        "model: Import path does not correspond to a s",
        "--model=torch.nn.Linear",
    ),
    _fit(
        "a function for a model",
        "model: Import path does not correspond to a s",
        "--model=os.getcwd",
    ),
    _fit(
        "an unknown kind of data",
        "data: expected a class that is imported, or i",
        "--data=ParticleDatas",
    ),
    _fit(
        "a learning rate below 0",
        "model.optimizer: expected a learning rate (lr) from 0 on, found",
        "--model.optimizer.lr=-1",
    ),
    _fit(
        "a layer for an optimiser",
        "model.optimizer: Linear: expected a class of kind Optimizer,",
        "--model.optimizer=torch.nn.Linear",
    ),
    _fit(
        "an optimiser of three betas",
        "model.optimizer.betas: expected tuple with 2 elements, found '[1,",
        "--model.optimizer=Adam",
        "--model.optimizer.betas=[1, 2, 3]",
    ),
    _fit(
        "a scheduler that lacks a value",
        "model.lr_scheduler: the following arguments are required:",
        "--model.lr_scheduler=torch.optim.lr_scheduler.StepLR",
    ),
    _fit(
        "a cyclic schedule of no number",
        "a schedule runs between finite values, found first=0.0 and",
        "--model.kl_weight.class_path=CyclicSchedule",
        f"{_FIRST}=0",
        f"{_LAST}=.nan",
        "--model.kl_weight.init_args.period=5",
    ),
    _fit(
        "an option cut short",
        "unrecognized arguments: --trainer.max_epoch=3",
        "--trainer.max_epoch=3",
    ),
    _fit(
        "gradients of no batch",
        "trainer.accumulate_grad_batches must be at least 1, found 0",
        "--trainer.accumulate_grad_batches=0",
    ),
    _fit(
        "validation every 0 epochs",
        "trainer.check_val_every_n_epoch must be at least 1, found 0",
        "--trainer.check_val_every_n_epoch=0",
    ),
    _fit(
        "validation every 0 batches",
        "trainer.val_check_interval must be above 0, found 0",
        "--trainer.val_check_interval=0",
    ),
    _fit(
        "a clipping of no number",
        "trainer.gradient_clip_val must be at least 0, found nan",
        "--trainer.gradient_clip_val=.nan",
    ),
    _fit("a batch of none", "batch_size must be at least 1, found 0", "--data.batch_size=0"),
    _fit(
        "a held-out share above 1",
        "validation_fraction must be in [0, 1), found ",
        "--data.validation_fraction=1.5",
    ),
    _fit(
        "workers below 0", "num_workers option should be non-negative; us", "--data.num_workers=-1"
    ),
    _fit(
        "a configuration that is not there",
        "absent.yaml: no such file here",
        "--config=absent.yaml",
    ),
    _fit("a folder for a configuration", "config: Path is not a file:", "--config=data"),
    _yaml("an empty configuration", "run.yaml: a mapping expected, found NoneType", ""),
    _yaml("a configuration of a list", "run.yaml: a mapping expected, found list", "- a\n- b\n"),
    _yaml("a configuration of a word", "run.yaml: a mapping expected, found str", "hello\n"),
    _yaml(
        "a configuration cut off",
        "run.yaml, line 2: did not find expected node content",
        "model: {class_path: [\n",
    ),
    _yaml(
        "tabs in a configuration",
        "run.yaml, line 2: found character that cannot start any token",
        "model:\n\tclass_path: x\n",
    ),
    _yaml(
        "a configuration of no text",
        "'utf-8' codec can't decode byte 0xff in posit",
        b"\xff\xfe\x00\x01\x80",
    ),
    _yaml(
        "a configuration that contains itself",
        "run.yaml, line 1: an anchor (&name) contains its own alias (*name)",
        "model: &m\n  init_args: *m\n",
    ),
    _yaml(
        "a list that contains itself",
        "run.yaml, line 1: an anchor (&name) contains its own alias (*name)",
        "trainer: {callbacks: &c [*c]}\n",
    ),
    _yaml("an alias of nothing", "run.yaml, line 1: found undefined alias", "model: *nothing\n"),
    _yaml(
        "a configuration that builds objects",
        "run.yaml, line 1: could not determine a constructor for the tag",
        "model: !!python/name:os.system\n",
    ),
    _yaml(
        "an unknown part of a configuration",
        "Subcommand 'fit' does not accept option 'noth",
        "nothing: 1\n",
    ),
    Kind(
        "a key that is there twice",
        "fit",
        "run.yaml, line 13: 'model' is there twice",
        spoil=replace("run.yaml", "model:", "model: {}\nmodel:"),
    ),
    Kind(
        "a penalty that is there twice",
        "fit",
        "run.yaml, line 15: 'a' is there twice",
        spoil=replace("run.yaml", "conformation_dim: 2", "penalties: {a: DIPVAE, a: DIPVAE}"),
    ),
)
