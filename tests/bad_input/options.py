"""Wrong words and wrong configurations of ``fit``, and words that are no command."""

from __future__ import annotations

from tests.bad_input.workspace import Kind, replace, write

_LINEAR = "--model.kl_weight.class_path=LinearSchedule"
_FIRST = "--model.kl_weight.init_args.first"
_LAST = "--model.kl_weight.init_args.last"
_STEP = "--model.kl_weight.init_args.last_step"
_TWICE = "[{class_path: SlownessPenalty}, {class_path: SlownessPenalty}]"


def _fit(name: str, said: str, *words: str) -> Kind:
    return Kind(name, "fit", said, words)


def _yaml(name: str, said: str, content: str | bytes) -> Kind:
    return Kind(name, "fit", said, spoil=write("run.yaml", content))


OPTIONS = (
    Kind("no such command", "fitt", "did you mean 'fit'"),
    Kind("an option for a command", "--config", "no command '--config'"),
    Kind("no options at all", "fit", "", ("!",)),
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
        "the weight of a penalty must be finite and >=",
        _LINEAR,
        f"{_FIRST}=.nan",
        f"{_LAST}=1",
        f"{_STEP}=5",
    ),
    _fit(
        "a schedule without end",
        "the weight of a penalty must be finite and >=",
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
        "model.optimizer: Type typing.Callable[[collec",
        "--model.optimizer=torch.optim.Adamm",
    ),
    _fit(
        "an unknown option of the optimiser",
        "model.optimizer: Type typing.Callable[[collec",
        "--model.optimizer.lrate=1",
    ),
    _fit(
        "a learning rate of a word",
        "model.optimizer: expected a class that is imp",
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
    _fit("a batch of none", "batch_size must be at least 1, found 0", "--data.batch_size=0"),
    _fit(
        "a held-out share above 1",
        "validation_fraction must be in [0, 1), found ",
        "--data.validation_fraction=1.5",
    ),
    _fit(
        "workers below 0", "num_workers option should be non-negative; us", "--data.num_workers=-1"
    ),
    _fit("no devices", "trainer.devices: expected a number of devices", "--trainer.devices=0"),
    _fit(
        "devices of a word",
        "`devices` selected with `CPUAccelerator` shou",
        "--trainer.devices=many",
    ),
    _fit(
        "an accelerator that is not there",
        "trainer.accelerator: found gpu, and this mach",
        "--trainer.accelerator=gpu",
    ),
    _fit(
        "an unknown accelerator",
        "You selected an invalid accelerator name: `ac",
        "--trainer.accelerator=abacus",
    ),
    _fit(
        "an unknown strategy",
        "You selected an invalid strategy name: `strat",
        "--trainer.strategy=nope",
    ),
    _fit(
        "an unknown precision",
        "trainer.precision: expected int or Literal['t",
        "--trainer.precision=half",
    ),
    _fit(
        "a precision that would round poses",
        "precision 16-true would round poses and CTFs ",
        "--trainer.precision=16-true",
    ),
    _fit(
        "epochs of a word",
        "trainer.max_epochs: expected int or null, fou",
        "--trainer.max_epochs=x",
    ),
    _fit(
        "epochs below -1",
        "`max_epochs` must be a non-negative integer o",
        "--trainer.max_epochs=-3",
    ),
    _fit(
        "a time of a word",
        "`Timer(duration='abc')` is not a valid durati",
        "--trainer.max_time=abc",
    ),
    _fit(
        "validation rarer than batches",
        "`val_check_interval` (1000) must be less than",
        "--trainer.val_check_interval=1000",
    ),
    _fit(
        "an unknown profiler",
        "When passing string value for the `profiler` ",
        "--trainer.profiler=nope",
    ),
    _fit(
        "an unknown logger",
        "trainer.logger: expected a class that is impo",
        "--trainer.logger=Nope",
    ),
    _fit(
        "an unknown callback",
        "trainer.callbacks: expected a class that is i",
        "--trainer.callbacks+=Nope",
    ),
    _fit(
        "a clipping of a word",
        "trainer.gradient_clip_val: expected int or fl",
        "--trainer.gradient_clip_val=x",
    ),
    _fit(
        "an unknown monitor",
        "checkpoint.monitor: expected one of ['train/l",
        "--checkpoint.monitor=val/nothing",
    ),
    _fit(
        "an unknown mode",
        "`mode` can be min, max but got up",
        "--checkpoint.monitor=val/loss",
        "--checkpoint.mode=up",
    ),
    _fit(
        "checkpoints of -5",
        "Invalid value for save_top_k=-5. Must be >= -",
        "--checkpoint.save_top_k=-5",
    ),
    _fit(
        "checkpoints every -1 steps",
        "Invalid value for every_n_train_steps=-1. Mus",
        "--checkpoint.every_n_train_steps=-1",
    ),
    _fit(
        "no checkpoints",
        "Trainer was configured with `enable_checkpoin",
        "--trainer.enable_checkpointing=false",
    ),
    _fit(
        "a guard that never looks",
        "every_n_steps must be at least 1, found 0",
        "--guard.every_n_steps=0",
    ),
    _fit(
        "signals never looked for",
        "every_n_steps must be at least 1, found 0",
        "--signals.every_n_steps=0",
    ),
    _fit(
        "fewer volumes than none", "kmeans must not be negative, found -1", "--prediction.kmeans=-1"
    ),
    _fit(
        "a negative seed", "seed_everything: expected a whole number from", "--seed_everything=-4"
    ),
    _fit(
        "a seed of a word", "seed_everything: expected bool or int, found ", "--seed_everything=x"
    ),
    _fit(
        "a penalty given twice",
        "trainer.callbacks: SlownessPenalty: the follo",
        f"--trainer.callbacks={_TWICE}",
    ),
    _fit(
        "a configuration that is not there", "config: File does not exist:", "--config=absent.yaml"
    ),
    _fit("a folder for a configuration", "config: Path is not a file:", "--config=data"),
    _yaml("an empty configuration", "Unexpected config:", ""),
    _yaml("a configuration of a list", "Unexpected config: - a - b", "- a\n- b\n"),
    _yaml("a configuration of a word", "Unexpected config: hello", "hello\n"),
    _yaml(
        "a configuration cut off",
        "Problems parsing config: while parsing a flow",
        "model: {class_path: [\n",
    ),
    _yaml(
        "tabs in a configuration",
        "Problems parsing config: while scanning for t",
        "model:\n\tclass_path: x\n",
    ),
    _yaml(
        "a configuration of no text",
        "'utf-8' codec can't decode byte 0xff in posit",
        b"\xff\xfe\x00\x01\x80",
    ),
    _yaml(
        "a configuration that contains itself",
        "Problems parsing config: an anchor (&name) co",
        "model: &m\n  init_args: *m\n",
    ),
    _yaml(
        "a list that contains itself",
        "Problems parsing config: an anchor (&name) co",
        "trainer: {callbacks: &c [*c]}\n",
    ),
    _yaml(
        "an alias of nothing", "Problems parsing config: found undefined alia", "model: *nothing\n"
    ),
    _yaml(
        "a configuration that builds objects",
        "Problems parsing config: could not determine ",
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
        "",
        spoil=replace("run.yaml", "model:", "model: {}\nmodel:"),
    ),
    Kind(
        "a penalty that is there twice",
        "fit",
        "",
        spoil=replace("run.yaml", "conformation_dim: 2", "penalties: {a: DIPVAE, a: DIPVAE}"),
    ),
)
