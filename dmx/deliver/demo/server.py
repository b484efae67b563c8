"""The server of `dmx demo`: photographs in, maps and files out. It imports no torch."""

import base64
import binascii
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from fastapi import FastAPI, HTTPException, Query, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dmx.data.decoding import colour
from dmx.deliver.depth_files import FOV, SUFFIXES, DepthFormat, write_depth
from dmx.deliver.exported import ExportedNetwork, Maps
from dmx.errors import UserError

PAGE = Path(__file__).with_name("page")
HOSTS = ["127.0.0.1", "localhost"]
"""Names by which the server may be called; a page of another site that resolves to this machine has another."""
LARGEST = 64 * 2**20
"""Most bytes of a picture, encoded in base64."""
SHOWN = 1024
"""The longer side of the maps that the page shows, at most; files have the photograph's own size."""
Form = Literal["mask", "cutout"] | DepthFormat
Share = Annotated[float, Query(ge=0, le=1)]
Angle = Annotated[float, Query(ge=1, lt=180)]


class Pictures(BaseModel):
    """A photograph, and the scene without the object where the network takes it: PNG or JPEG, in base64."""

    image: str = Field(max_length=LARGEST)
    background: str | None = Field(default=None, max_length=LARGEST)


@dataclass(frozen=True)
class Example:
    """Pictures that the page begins with."""

    image: Path | None = None
    background: Path | None = None


def app(networks: Mapping[str, ExportedNetwork], example: Example) -> FastAPI:
    """Build the server.

    Args:
        networks: The networks by name, in the order of the page.
        example: Pictures that the page begins with.
    """
    made = FastAPI(title="dmx demo", docs_url=None, redoc_url=None, openapi_url=None)
    made.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)

    @made.get("/networks")
    def listed() -> list[dict[str, Any]]:
        return [described(name, one) for name, one in networks.items()]

    @made.get("/example/{role}")
    def first(role: Literal["image", "background"]) -> Response:
        path: Path | None = getattr(example, role)
        return Response(status_code=204) if path is None else FileResponse(path)

    @made.post("/predict")
    def predict(network: str, pictures: Pictures) -> dict[str, Any]:
        start = time.perf_counter()
        _, (mask, depth) = predicted(known(networks, network), pictures)
        height, width = depth.shape
        share = min(1.0, SHOWN / max(height, width))
        sides = max(1, round(width * share)), max(1, round(height * share))
        mask, depth = (cv2.resize(one, sides, interpolation=cv2.INTER_AREA) for one in (mask, depth))
        return {
            "width": sides[0],
            "height": sides[1],
            "depth": encoded(depth.astype("<f4")),
            "mask": encoded((mask * 255).round().astype(np.uint8)),
            "seconds": time.perf_counter() - start,
        }

    @made.post("/file/{form}")
    def file(form: Form, network: str, pictures: Pictures, threshold: Share = 0.5, fov: Angle = FOV) -> Response:
        one = known(networks, network)
        image, maps = predicted(one, pictures)
        if form == "ply" and not one.facts.unit:
            raise HTTPException(422, "a point cloud needs depth in metres, and this network's is relative.")
        data = written(form, image, maps, one.facts.depth["kind"], threshold, fov)
        return Response(data, media_type="application/octet-stream")

    made.mount("/", StaticFiles(directory=PAGE, html=True))
    return made


def described(name: str, network: ExportedNetwork) -> dict[str, Any]:
    """A network as the page needs it."""
    facts = network.facts
    return {
        "name": name,
        "run": facts.run,
        "inputs": facts.inputs,
        "size": facts.size,
        "unit": facts.unit,
        "near": facts.depth["near"],
        "threshold": facts.mask_threshold,
        "precision": facts.precision,
    }


def known(networks: Mapping[str, ExportedNetwork], name: str) -> ExportedNetwork:
    """The network of a name.

    Raises:
        HTTPException: There is none.
    """
    if name not in networks:
        raise HTTPException(404, f"there is no network '{name}' here, but {', '.join(networks)}.")
    return networks[name]


def predicted(network: ExportedNetwork, pictures: Pictures) -> tuple[np.ndarray, Maps]:
    """The photograph, upright, and its mask and depth at its own size.

    Raises:
        HTTPException: A picture cannot be read, or is missing or not used.
    """
    if network.needs_background and pictures.background is None:
        raise HTTPException(422, "this network takes the scene without the object, too; give it as the background.")
    image = decoded(pictures.image, "photograph")
    behind = decoded(pictures.background or "", "background") if network.needs_background else None
    try:
        return image, network([image], None if behind is None else [behind])[0]
    except UserError as error:
        raise HTTPException(422, str(error)) from error


def decoded(text: str, role: str) -> np.ndarray:
    """A picture from base64, turned as its EXIF says.

    Raises:
        HTTPException: It is no picture.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / role
        try:
            path.write_bytes(base64.b64decode(text, validate=True))
            return colour(path, upright=True)
        except (UserError, binascii.Error) as error:
            raise HTTPException(422, str(error).replace(str(path), f"the {role}")) from error


def written(form: Form, image: np.ndarray, maps: Maps, kind: Any, threshold: float, fov: float) -> bytes:
    """The content of a file: the mask, the object cut out, or depth in a form of `dmx predict`."""
    mask, depth = maps
    if form == "mask":
        return png((mask * 255).round().astype(np.uint8))
    if form == "cutout":
        alpha = ((mask >= threshold) * 255).astype(np.uint8)
        return png(np.dstack([cv2.cvtColor(image, cv2.COLOR_RGB2BGR), alpha]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"depth{SUFFIXES[form]}"
        write_depth(path, depth, form, kind, image, fov)
        return path.read_bytes()


def png(pixels: np.ndarray) -> bytes:
    """Pixels as PNG, with blue first as OpenCV has it."""
    return cv2.imencode(".png", pixels)[1].tobytes()


def encoded(plane: np.ndarray) -> str:
    """The bytes of a plane, in base64."""
    return base64.b64encode(np.ascontiguousarray(plane).tobytes()).decode()
