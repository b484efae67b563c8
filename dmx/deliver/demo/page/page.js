// The page of `dmx demo`: takes pictures, asks the server for depth and mask, and shows them.
import { Cloud } from "./cloud.js";

const byId = (id) => document.getElementById(id);
const FILES = {
  cutout: ["object, cut out", "png"], mask: ["mask", "png"], png16: ["depth, 16-bit PNG", "png"],
  npy: ["depth, NPY", "npy"], exr: ["depth, EXR", "exr"], ply: ["points, PLY", "ply"],
};
const NEAR_TO_FAR = [[165, 0, 38], [244, 109, 67], [254, 224, 139], [171, 221, 164], [50, 136, 189], [60, 40, 120]];
const pictures = { image: null, background: null };
const columns = [];
let asked = 0;

let networks = [];
const ready = fetch("networks").then((answer) => answer.json()).then((found) => {
  networks = found;
  byId("background").hidden = !networks.some((one) => one.inputs.includes("background"));
  byId("threshold").value = Math.round(100 * networks[0].threshold);
});
for (const role of ["image", "background"]) setUp(role);
for (const input of document.querySelectorAll("#controls input")) input.addEventListener("input", show);
window.addEventListener("dragover", (event) => event.preventDefault());
window.addEventListener("drop", (event) => event.preventDefault());

function setUp(role) {
  const box = byId(role);
  box.querySelector("input").addEventListener("change", (event) => take(role, event.target.files[0]));
  box.querySelector(".camera").addEventListener("click", () => openCamera(role));
  box.addEventListener("dragover", () => box.classList.add("over"));
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    box.classList.remove("over");
    take(role, event.dataTransfer.files[0]);
  });
  fetch(`example/${role}`).then(async (example) => {
    if (example.status === 200) take(role, await example.blob());
  });
}

async function take(role, blob) {
  if (!blob) return;
  pictures[role] = blob;
  const preview = byId(role).querySelector("img");
  preview.src = URL.createObjectURL(blob);
  preview.hidden = false;
  await predict();
}

async function openCamera(role) {
  const dialog = byId("camera"), video = dialog.querySelector("video");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return say(`The camera cannot be used (${error.message}); choose a file.`, true);
  }
  video.srcObject = stream;
  dialog.showModal();
  dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
  byId("leave").onclick = () => dialog.close();
  byId("take").onclick = () => {
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d").drawImage(video, 0, 0);
    dialog.close();
    canvas.convertToBlob({ type: "image/png" }).then((blob) => take(role, blob));
  };
}

function say(text, bad = false) {
  byId("message").textContent = text;
  byId("message").classList.toggle("bad", bad);
}

async function base64(blob) {
  const url = await new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}

async function ask(path, network, parameters = {}) {
  const query = new URLSearchParams({ network, ...parameters });
  const body = { image: await base64(pictures.image) };
  if (pictures.background) body.background = await base64(pictures.background);
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${path}?${query}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.ok) return answer;
  const { detail } = await answer.json().catch(() => {
    throw new Error(`The server failed (${answer.status}); its terminal says why.`);
  });
  throw new Error(typeof detail === "string" ? detail : "the pictures are too large, or no pictures.");
}

async function predict() {
  if (!pictures.image) return;
  const mine = ++asked;
  await ready;
  const able = networks.filter((one) => pictures.background || !one.inputs.includes("background"));
  if (!able.length) return say("Now the scene without the object, which the network takes, too.");
  say("Looking at the picture ...");
  try {
    const photograph = await createImageBitmap(pictures.image, { imageOrientation: "from-image" });
    const found = [];
    for (const one of able) found.push(await column(one, photograph));
    if (mine !== asked) return;
    columns.splice(0, columns.length, ...found);
    byId("results").replaceChildren(...found.map((one) => one.figure));
    byId("controls").hidden = false;
    const left = networks.length - able.length;
    say(left ? `${left} more wait for the scene without the object.` : "");
    show();
  } catch (error) {
    if (mine === asked) say(error.message, true);
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

async function column(network, photograph) {
  const { width, height, depth, mask, seconds } = await (await ask("predict", network.name)).json();
  const figure = byId("result").content.cloneNode(true).firstElementChild;
  const canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(photograph, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data;
  const one = { network, figure, width, height, pixels, depth: new Float32Array(bytes(depth).buffer), mask: bytes(mask) };
  const sorted = one.depth.slice().sort();
  [one.low, one.high] = [0.01, 0.99].map((share) => sorted[Math.floor(share * (sorted.length - 1))]);
  const small = document.createElement("small");
  small.textContent = ` ${network.size.join("×")}, ${network.precision}, ${(1000 * seconds).toFixed(0)} ms`;
  figure.querySelector("figcaption").append(network.name, small);
  for (const flat of figure.querySelectorAll("canvas")) Object.assign(flat, { width, height });
  const flat = figure.querySelector(".flat");
  flat.addEventListener("pointermove", (event) => point(event.offsetX / flat.clientWidth, event.offsetY / flat.clientHeight));
  flat.addEventListener("pointerdown", (event) => point(event.offsetX / flat.clientWidth, event.offsetY / flat.clientHeight));
  for (const [form, [title, suffix]] of Object.entries(FILES)) {
    if (form === "ply" && !network.unit) continue;
    const button = document.createElement("button");
    button.textContent = title;
    button.dataset.form = form;
    button.addEventListener("click", () => download(network, form, suffix));
    figure.querySelector(".files").append(button);
  }
  return one;
}

async function download(network, form, suffix) {
  try {
    const settings = { threshold: byId("threshold").value / 100, fov: byId("fov").value };
    const blob = await (await ask(`file/${form}`, network.name, settings)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${network.name}-${form}.${suffix}`;
    link.click();
    URL.revokeObjectURL(link.href);
  } catch (error) {
    say(error.message, true);
  }
}

function point(x, y) {
  for (const one of columns) {
    const at = Math.min(one.height - 1, Math.floor(y * one.height)) * one.width
      + Math.min(one.width - 1, Math.floor(x * one.width));
    const depth = one.network.unit ? `${one.depth[at].toFixed(2)} ${one.network.unit}` : `${one.depth[at].toFixed(3)} (relative)`;
    one.figure.querySelector(".readout").textContent = `${depth}, object ${Math.round(one.mask[at] / 2.55)} %`;
    const dot = one.figure.querySelector(".dot");
    dot.hidden = false;
    dot.style.left = `${100 * x}%`;
    dot.style.top = `${100 * y}%`;
  }
}

function show() {
  for (const label of document.querySelectorAll(".slider")) {
    const { id, value } = label.querySelector("input");
    label.querySelector("output").textContent = id === "fov" ? `${value}°` : `${value} %`;
  }
  const view = document.querySelector("[name=view]:checked").value;
  byId("opacity").parentElement.hidden = view === "cloud";
  byId("threshold").parentElement.hidden = view === "depth";
  byId("fov").parentElement.hidden = view !== "cloud";
  for (const one of columns) {
    one.figure.querySelector(".flat").hidden = view === "cloud";
    one.figure.querySelector(".cloud").hidden = view !== "cloud";
    one.figure.querySelector(".dot").style.visibility = view === "cloud" ? "hidden" : "visible";
    if (view === "cloud") {
      one.cloud ??= new Cloud(one.figure.querySelector(".cloud"), say);
      one.cloud.load(one, byId("fov").value, 2.55 * byId("threshold").value);
    } else draw(one, view, byId("opacity").value / 100, 2.55 * byId("threshold").value);
  }
}

function draw(one, view, opacity, threshold) {
  const { width, height, pixels, depth, mask, low, high } = one;
  const made = new ImageData(width, height), out = made.data;
  const flip = one.network.near === "high";
  for (let i = 0, p = 0; i < depth.length; i++, p += 4) {
    let tint = [255, 64, 64], share = mask[i] >= threshold ? opacity : 0;
    if (view === "depth") {
      const far = Math.min(1, Math.max(0, (depth[i] - low) / (high - low || 1)));
      tint = colour(flip ? 1 - far : far);
      share = opacity;
    }
    for (let c = 0; c < 3; c++) out[p + c] = pixels[p + c] * (1 - share) + tint[c] * share;
    out[p + 3] = 255;
  }
  one.figure.querySelector(".flat").getContext("2d").putImageData(made, 0, 0);
}

function colour(far) {
  const place = far * (NEAR_TO_FAR.length - 1), from = Math.min(Math.floor(place), NEAR_TO_FAR.length - 2);
  return NEAR_TO_FAR[from].map((value, c) => value + (NEAR_TO_FAR[from + 1][c] - value) * (place - from));
}
