"""The network as TensorBoard's graph."""

import logging
import shutil
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from torch import Tensor, nn

log = logging.getLogger(__name__)


def draw_graph(folder: Path, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Write the graph of `model` into a folder that is not there yet; of what cannot be traced there is none.

    Args:
        folder: Below the run's TensorBoard folder, which is made anew from the journal; this is not.
        model: Called with `inputs` once.
        inputs: Tensors on its device.
    """
    from torch.utils.tensorboard import SummaryWriter

    if folder.exists():
        return
    was_training = model.training
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), SummaryWriter(str(folder)) as writer:
            warnings.simplefilter("ignore")  # tracing warns of every branch on a size
            writer.add_graph(model.eval(), inputs, use_strict_trace=False)
    except Exception as error:  # whatever tracing may raise: a picture is not worth a run
        log.debug("no graph: %s", error)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        model.train(was_training)
