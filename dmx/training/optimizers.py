"""The optimizers as a table; importing this module registers them.

The default weight decay is 0, except for AdamW. The searched range of the learning rate depends on the family: steps
scaled by the gradient's history (`AdaptiveRate`), proportional to the gradient (`GradientRate`), or by the gradient's
sign (`SignRate`).

Muon, as its authors advise, updates only the kernels and matrices of hidden layers; AdamW, with the same learning rate,
updates first and last layers, biases, norms and embeddings (`hidden_layers`, see `dmx.training.groups`).
Deviations, all of timm's implementation: its AdamW has Nesterov momentum (NAdamW); it also updates matrices that are
close to vectors, namely kernels of one channel, with a side below 4, or 128 times as long as wide; and each of the
five Newton-Schulz steps has its own coefficients, which approximate an orthogonal matrix better than the authors' one
set.
"""

from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Annotated, Any

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

from dmx.registry import Range, Setting, described, optimizers

Beta = Annotated[float, Field(ge=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, lt=1), Range(0.0, 0.98)]
HighMomentum = Annotated[float, Field(ge=0, lt=1), Range(0.8, 0.98)]
AdaptiveRate = Annotated[float, Field(gt=0, le=10), Range(1e-5, 1e-2, log=True)]
GradientRate = Annotated[float, Field(gt=0, le=10), Range(1e-4, 1.0, log=True)]
SignRate = Annotated[float, Field(gt=0, le=1), Range(3e-6, 3e-3, log=True)]
WeightDecay = Annotated[float, Field(ge=0, le=1), Range(1e-6, 1e-2, log=True)]
"""Added to the gradient: an L2 penalty."""
DecoupledDecay = Annotated[float, Field(ge=0, le=10), Range(1e-4, 0.3, log=True)]
"""Taken from the weights apart from the gradient, in proportion to the learning rate."""
ITS_OWN_AVERAGE = {"schedule": ("constant",), "training.ema_decay": (None,)}
"""For optimizers that average the weights themselves: a falling rate or a second average would shorten that average."""
ONE_RATE = {"groups.encoder_lr": (1.0,), "groups.layer_decay": (1.0,)}
"""It learns one rate for all parameters, and refuses groups of several."""


def lr(default: float, type: Any = AdaptiveRate, what: str = "Learning rate.") -> Setting:
    """A learning rate."""
    return Setting(type, default, what)


def memory(default: float, of: str = "the gradient") -> Setting:
    """The factor of a running mean."""
    return Setting(Beta, default, f"Memory of {of}.")


def momentum(default: float, type: Any = Momentum) -> Setting:
    """The factor of the last step."""
    return Setting(type, default, "The share of the last step that goes on.")


def decoupled(
    default: float = 0.0,
    type: Any = DecoupledDecay,
    what: str = "The share of the weights that each step of learning rate 1 takes away.",
) -> Setting:
    """Decoupled weight decay."""
    return Setting(type, default, what)


L2 = Setting(WeightDecay, 0.0, "L2 penalty, added to the gradient.")
SQUARES = memory(0.999, "the squared gradient")
NEAR_AVERAGE = "How near the average the gradient is taken."
NO_FACTS: Mapping[str, Any] = {}


def row(
    name: str,
    target: str,
    paper: str,
    summary: str,
    fixed: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] = NO_FACTS,
    facts: Mapping[str, Any] = NO_FACTS,
    **settings: Setting,
) -> Callable[..., Optimizer]:
    """Register the optimizer class `target` under `name`.

    Args:
        name: Its name in the registry.
        target: Module and name of the class; it is imported when it is built, as importing timm takes seconds.
        paper: Its source.
        summary: Its description in one line.
        fixed: Arguments of the class that are not parameters, or a function from the parameters to these.
        facts: Further facts, see `Component.facts`.
        settings: Its parameters; `beta1`, `beta2`, ... become the argument `betas`.
    """
    module, _, class_name = target.rpartition(".")

    def build(parameters: ParamsT, **given: Any) -> Optimizer:
        values = {key: setting.default for key, setting in settings.items()} | given
        values |= fixed(values) if callable(fixed) else fixed
        if betas := tuple(values.pop(key) for key in settings if key.startswith("beta")):
            values["betas"] = betas
        make = getattr(import_module(module), class_name)
        with redirect_stdout(None):  # Prodigy prints its kind of weight decay
            optimizer: Optimizer = make(parameters, **values)
        if hasattr(optimizer, "train"):  # of the schedule-free ones, whose weights in eval mode are averages
            optimizer.train()
        return optimizer

    return optimizers.register(name, source=f"{paper}; {target}", **facts)(described(build, name, summary, settings))


# fmt: off
row("adam", "torch.optim.Adam", "Kingma and Ba 2015",
    "Adam: steps scaled by running means of gradient and squared gradient.",
    lr=lr(1e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=L2)
row("adamw", "torch.optim.AdamW", "Loshchilov and Hutter 2019",
    "Adam with weight decay apart from the gradient.",
    lr=lr(1e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=decoupled(0.01))
row("nadam", "torch.optim.NAdam", "Dozat 2016",
    "Adam with Nesterov's momentum.",
    lr=lr(2e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=L2)
row("nadamw", "timm.optim.NAdamW", "Dozat 2016, Loshchilov and Hutter 2019",
    "AdamW with Nesterov's momentum.",
    lr=lr(1e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=decoupled(0.01))
row("radam", "torch.optim.RAdam", "Liu et al. 2020",
    "Adam that holds back until its mean of squares can be trusted.",
    lr=lr(1e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=L2)
row("adamax", "torch.optim.Adamax", "Kingma and Ba 2015, section 7.1",
    "Adam with the greatest gradient of late in place of the mean of squares.",
    lr=lr(2e-3), beta1=memory(0.9), beta2=memory(0.999, "the greatest gradient"), weight_decay=L2)
row("lamb", "timm.optim.Lamb", "You et al. 2020",
    "Adam whose steps are a share of the length of each layer's weights, for large batches.",
    fixed={"always_adapt": True, "max_grad_norm": None},
    lr=lr(3e-3), beta1=memory(0.9), beta2=SQUARES,
    weight_decay=decoupled(what="As in the paper, added to the step before that is scaled."))
row("lion", "timm.optim.Lion", "Chen et al. 2023",
    "Steps of one length, by the sign of a mixture of gradient and momentum.",
    lr=lr(1e-4, SignRate, "Learning rate; a third to a tenth of Adam's."),
    beta1=Setting(Beta, 0.9, "The momentum's share in that mixture."), beta2=memory(0.99, "the momentum"),
    weight_decay=decoupled(type=Annotated[float, Field(ge=0, le=100), Range(1e-3, 3.0, log=True)]))
row("adagrad", "torch.optim.Adagrad", "Duchi et al. 2011",
    "Steps divided by the root of the sum of all squared gradients.",
    lr=lr(0.01, GradientRate), weight_decay=L2)
row("adadelta", "torch.optim.Adadelta", "Zeiler 2012",
    "Steps in proportion to the steps of late, without a unit.",
    lr=lr(1.0, Annotated[float, Field(gt=0, le=10), Range(0.1, 10.0, log=True)]),
    rho=memory(0.9, "squared gradients and steps"), weight_decay=L2)
row("rmsprop", "torch.optim.RMSprop", "Hinton 2012, lecture 6e",
    "RMSprop: steps scaled by a running mean of the squared gradient.",
    lr=lr(1e-3), alpha=memory(0.99, "the squared gradient"), momentum=momentum(0.0), weight_decay=L2)
row("adafactor", "torch.optim.Adafactor", "Shazeer and Stern 2018",
    "Squared gradients by row and column only, which saves memory.",
    lr=lr(0.01, what="Learning rate, relative to the size of the weights."), weight_decay=decoupled())
row("madgrad", "timm.optim.MADGRAD", "Defazio and Jelassi 2022",
    "Dual averaging with momentum and the cube root of summed squares.",
    lr=lr(1e-3), momentum=momentum(0.9, Annotated[float, Field(ge=0, lt=1), Range(0.5, 0.98)]), weight_decay=L2)
row("novograd", "timm.optim.NvNovoGrad", "Ginsburg et al. 2019",
    "Adam with one mean of squares for each layer.",
    fixed={"decoupled_decay": True},
    lr=lr(1e-3), beta1=memory(0.95), beta2=memory(0.98, "the layer's squared gradient"), weight_decay=decoupled())
row("adabelief", "timm.optim.AdaBelief", "Zhuang et al. 2020",
    "Adam whose steps are scaled by how far the gradient is from what was expected.",
    fixed={"rectify": False},
    lr=lr(1e-3), beta1=memory(0.9), beta2=memory(0.999, "the squared surprise"), weight_decay=decoupled())
row("adamp", "timm.optim.AdamP", "Heo et al. 2021",
    "Adam with Nesterov momentum, without the part of a step that only makes scale-invariant weights longer.",
    fixed={"nesterov": True},
    lr=lr(1e-3), beta1=memory(0.9), beta2=SQUARES, weight_decay=decoupled())
row("adan", "timm.optim.Adan", "Xie et al. 2024",
    "Adam with Nesterov's momentum from the change of the gradient.",
    lr=lr(1e-3), beta1=memory(0.98), beta2=memory(0.92, "the gradient's change"), beta3=memory(0.99, "the squares"),
    weight_decay=decoupled())
row("adopt", "timm.optim.Adopt", "Taniguchi et al. 2024",
    "Adam that scales a gradient by those before it, so that it converges for any beta2.",
    fixed={"decoupled": True},
    lr=lr(1e-3), beta1=memory(0.9), beta2=memory(0.9999, "the squared gradient"), weight_decay=decoupled())
row("laprop", "timm.optim.LaProp", "Ziyin et al. 2020",
    "Adam that takes the momentum of scaled gradients instead of scaling the momentum.",
    lr=lr(4e-4), beta1=memory(0.9, "the scaled gradient"), beta2=SQUARES, weight_decay=decoupled())
row("mars", "timm.optim.Mars", "Yuan et al. 2024",
    "AdamW on gradients whose noise is lowered by the change since the last step.",
    lr=lr(3e-3), beta1=memory(0.9), beta2=memory(0.99, "the squared gradient"),
    gamma=Setting(Annotated[float, Field(ge=0, le=1)], 0.025, "How much of the change is added."),
    weight_decay=decoupled())
row("muon", "timm.optim.Muon", "Jordan et al. 2024, Liu et al. 2025 (scale)",
    "Momentum made orthogonal, hidden layer by hidden layer; AdamW for the first and last layers, biases and norms.",
    fixed={"nesterov": True}, facts={"hidden_layers": True},
    lr=lr(2e-3, what="Learning rate, of AdamW's size: steps are scaled to the length of its steps."),
    momentum=momentum(0.95, HighMomentum), weight_decay=decoupled())
sgd = row("sgd", "torch.optim.SGD", "Sutskever et al. 2013",
    "Stochastic gradient descent with momentum.",
    fixed=lambda given: {"nesterov": given["nesterov"] and given["momentum"] > 0},
    lr=lr(0.01, GradientRate), momentum=momentum(0.9), weight_decay=L2,
    nesterov=Setting(bool, False, "Look ahead along the momentum; without momentum it changes nothing."))
row("sgdp", "timm.optim.SGDP", "Heo et al. 2021 (AdamP)",
    "SGD without the part of a step that only makes scale-invariant weights longer.",
    fixed=lambda given: {"nesterov": given["momentum"] > 0},
    lr=lr(0.01, GradientRate), momentum=momentum(0.9),
    weight_decay=Setting(WeightDecay, 0.0, "Taken from the weights apart from the gradient."))
row("adamw_schedulefree", "schedulefree.AdamWScheduleFree", "Defazio et al. 2024",
    "AdamW that averages its weights so that no schedule is needed; use it with `schedule: constant`.",
    facts={"needs": ITS_OWN_AVERAGE},
    lr=lr(2.5e-3), beta1=Setting(Annotated[float, Field(gt=0, lt=1)], 0.9, NEAR_AVERAGE), beta2=SQUARES,
    weight_decay=decoupled())
sgd_schedulefree = row("sgd_schedulefree", "schedulefree.SGDScheduleFree", "Defazio et al. 2024",
    "SGD that averages its weights so that no schedule is needed; use it with `schedule: constant`.",
    facts={"needs": ITS_OWN_AVERAGE},
    lr=lr(0.1, GradientRate),
    momentum=Setting(Annotated[float, Field(gt=0, lt=1), Range(0.8, 0.98)], 0.9, NEAR_AVERAGE), weight_decay=L2)
row("prodigy", "prodigyopt.Prodigy", "Mishchenko and Defazio 2024",
    "Adam that finds its learning rate by itself.",
    facts={"needs": ONE_RATE},
    lr=lr(1.0, Annotated[float, Field(gt=0, le=10), Range(0.3, 3.0, log=True)],
          "What that learning rate is multiplied by."),
    beta1=memory(0.9), beta2=SQUARES, weight_decay=decoupled())
# fmt: on
