// A cloud of coloured points that is turned by dragging, moved nearer by the wheel or by pinching.
const VERTEX = `
attribute vec3 place; attribute vec3 colour; varying vec3 shade;
uniform float turn, tilt, distance, aspect, size;
void main() {
  float ct = cos(turn), st = sin(turn), ci = cos(tilt), si = sin(tilt);
  vec3 p = vec3(ct * place.x + st * place.z, place.y, ct * place.z - st * place.x);
  p = vec3(p.x, ci * p.y - si * p.z, si * p.y + ci * p.z + distance);
  gl_Position = vec4(2.0 * p.x / aspect, -2.0 * p.y, (p.z - 0.1) * 0.5, p.z);
  gl_PointSize = size / max(p.z, 0.1);
  shade = colour;
}`;
const FRAGMENT = `
precision mediump float; varying vec3 shade;
void main() { gl_FragColor = vec4(shade, 1.0); }`;

export class Cloud {
  constructor(canvas, say) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl", { preserveDrawingBuffer: true });
    if (!this.gl) return say("This browser has no WebGL, which the cloud of points needs.", true);
    [this.turn, this.tilt, this.distance, this.fingers] = [0.35, 0.15, 1.2, new Map()];
    this.program = this.compile();
    this.buffers = { place: this.gl.createBuffer(), colour: this.gl.createBuffer() };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.fingers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointerup", (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("pointercancel", (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(event.deltaY / 800));
    }, { passive: false });
  }

  compile() {
    const { gl } = this, program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    return program;
  }

  // Shows one result, always the same; computes again what the settings have changed.
  load(one, fov, threshold) {
    if (!this.gl) return;
    if (fov !== this.fov) this.fill("place", this.places(one, fov), this.gl.FLOAT, false);
    if (threshold !== this.threshold) this.fill("colour", this.colours(one, threshold), this.gl.UNSIGNED_BYTE, true);
    [this.fov, this.threshold, this.count] = [fov, threshold, one.depth.length];
    this.draw();
  }

  places({ width, height, depth }, fov) {
    const focal = Math.min(width, height) / 2 / Math.tan((fov * Math.PI) / 360);
    this.far ??= depth.slice().sort()[Math.floor(0.98 * (depth.length - 1))] || 1;
    const places = new Float32Array(3 * depth.length);
    for (let i = 0; i < depth.length; i++) {
      const z = depth[i] / this.far;
      places[3 * i] = ((i % width) + 0.5 - width / 2) / focal * z;
      places[3 * i + 1] = (Math.floor(i / width) + 0.5 - height / 2) / focal * z;
      places[3 * i + 2] = z - 0.6;
    }
    return places;
  }

  colours({ pixels, mask }, threshold) {
    const colours = new Uint8Array(3 * mask.length);
    for (let i = 0; i < mask.length; i++) {
      const object = mask[i] >= threshold;
      for (let c = 0; c < 3; c++) colours[3 * i + c] = pixels[4 * i + c] * (object ? 1 : 0.75);
      if (object) colours[3 * i] = Math.min(255, colours[3 * i] + 60);
    }
    return colours;
  }

  fill(name, data, type, normalised) {
    const { gl } = this, at = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, type, normalised, 0, 0);
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    if (this.fingers.size === 1) {
      this.turn -= (event.clientX - before.clientX) / 200;
      this.tilt = Math.max(-1.5, Math.min(1.5, this.tilt - (event.clientY - before.clientY) / 200));
    } else {
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      this.distance *= apart(before) / apart(event);
    }
    this.fingers.set(event.pointerId, event);
    this.draw();
  }

  zoom(factor) {
    this.distance = Math.max(0.3, Math.min(6, this.distance * factor));
    this.draw();
  }

  draw() {
    const { gl, canvas } = this;
    const values = { turn: this.turn, tilt: this.tilt, distance: this.distance, aspect: canvas.width / canvas.height };
    values.size = Math.max(1.5, canvas.width / 160);
    for (const [name, value] of Object.entries(values)) gl.uniform1f(gl.getUniformLocation(this.program, name), value);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0.04, 0.05, 0.07, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.drawArrays(gl.POINTS, 0, this.count);
  }
}
