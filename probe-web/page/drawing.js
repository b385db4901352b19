// How fast this computer draws pictures, by each renderer that the browser has, and what a blurred background costs it. Tried out: what a
// browser calls accelerated may be done in software.

import { within } from './time.js';

const FPS = 30;
/** Pictures that are drawn at most, and how long that may take: half a second of video, the same as for encoding. */
const FRAMES = 15;
const SPEED_MS = 300;
const EFFECT_MS = 600;
/** A renderer's first pictures make it ready. The second is for WebGPU, which may learn by the first that it has to copy. */
const WARM = 2;
/** How long a driver may take to answer. */
const ANSWER_MS = 1_000;
/** By name; each makes one for a canvas. */
export const RENDERERS = { canvas: async (canvas) => flat(canvas), webgl: byWebGl, webgpu: byWebGpu };

/**
 * @typedef {{ width: number, height: number, frame: (n: number) => CanvasImageSource | VideoFrame }} Source whoever draws a frame closes it
 * @typedef {{ draw: (picture: CanvasImageSource | VideoFrame) => void, finish: () => void | Promise<void>, close: () => void, lost?: Promise<unknown> }} Drawer
 *   `draw` fills its canvas, `finish` waits until what was drawn is really there
 */

/**
 * Pictures of a size with something in them that moves.
 * @param {number} width pixels, even
 * @param {number} height pixels, even
 * @returns {Source}
 */
export function pictures(width, height) {
  return { width, height, frame: 'VideoFrame' in window ? raw(width, height) : drawn(width, height) };
}

/** I420, as it comes from a camera. */
function raw(width, height) {
  // Some lines more, so that each picture begins at another.
  const octets = new Uint8Array((width * height * 3) / 2 + 64 * width).map((_, i) => (i < width * (height + 64) ? 96 + ((i >> 5) & 63) : 128));
  const how = { format: 'I420', codedWidth: width, codedHeight: height };
  return (n) => new VideoFrame(octets.subarray((n % 32) * 2 * width), { ...how, timestamp: n });
}

function drawn(width, height) {
  const canvas = sized(width, height);
  const context = canvas.getContext('2d');
  return (n) => {
    context.clearRect(0, 0, width, height);
    context.fillRect((n * 32) % width, 0, 32, height);
    return canvas;
  };
}

/**
 * How many times faster than real time (30 pictures a second) each renderer draws pictures onto a canvas, from handing one over until it is
 * drawn. Takes 0.3 s for each, and what it takes to start it. WebGPU comes last, and is better left behind `effects`: what breaks the graphics
 * process there takes all other drawing with it.
 * @param {Source} source
 * @returns {Promise<{ renderer: 'canvas'|'webgl'|'webgpu', times_real_time: number|null, frames: number, reason?: 'unsupported'|'failed' }[]>}
 */
export async function speeds(source) {
  const found = [];
  for (const renderer of Object.keys(RENDERERS)) found.push({ renderer, ...await measure(RENDERERS[renderer], source, SPEED_MS) });
  return found;
}

/**
 * How many times faster than real time a blurred or replaced background is made, by WebGL, from a picture of the camera to one for the encoder.
 *
 * The network is a stand-in that finds nobody: 12 convolutions of 3 x 3 with 4 channels on 256 x 144, which are 63,700,992 multiply-adds
 * (256 * 144 * 9 * 4 * 4 * 12), with fixed weights; those of vendors take more or less. All around it is what an application does: upload,
 * scale down, blur at half the size (9 taps each way), mix by the mask, hand over as a `VideoFrame`.
 * @param {Source} source
 * @returns {Promise<{ times_real_time: number|null, frames: number, renderer?: 'webgl', reason?: 'unsupported'|'failed' }>}
 */
export async function effects(source) {
  const found = await measure(background, source, EFFECT_MS);
  return found.reason ? found : { ...found, renderer: 'webgl' };
}

async function measure(make, source, most_ms) {
  const none = (reason) => ({ times_real_time: null, frames: 0, reason });
  let drawer = null;
  try {
    drawer = await make(sized(source.width, source.height));
    if (!drawer) return none('unsupported');
    const slow = performance.now() + most_ms;
    for (let n = 0; n < WARM && performance.now() < slow; n += 1) await one(drawer, source.frame(n));
    const until = performance.now() + most_ms;
    let took = 0;
    let frames = 0;
    while (frames < FRAMES && (frames === 0 || performance.now() < until)) {
      took += await one(drawer, source.frame(WARM + frames));
      frames += 1;
    }
    // Less than a clock of whole milliseconds can tell is taken for one.
    return { times_real_time: Math.round(((frames / FPS) * 1e5) / Math.max(took, 1)) / 100, frames };
  } catch {
    return none('failed');
  } finally {
    drawer?.close();
  }
}

/** Draws a picture and lets the page do something else; how long the drawing took, in ms. */
async function one(drawer, picture) {
  try {
    const began = performance.now();
    drawer.draw(picture);
    await drawer.finish();
    return performance.now() - began;
  } finally {
    picture.close?.();
    await breath();
  }
}

/** A timer would wait for 4 ms, or in a hidden page for a second. */
function breath() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });
}

const sized = (width, height) => Object.assign(document.createElement('canvas'), { width, height });

/** @returns {Drawer|null} */
function flat(canvas) {
  // Without a word about reading, Chromium goes over to software as soon as pixels were read twice.
  const context = canvas.getContext('2d', { alpha: false, willReadFrequently: false });
  return context && {
    draw: (picture) => context.drawImage(picture, 0, 0, canvas.width, canvas.height),
    finish: () => void context.getImageData(0, 0, 1, 1),
    close: () => {},
  };
}

/** @returns {Promise<Drawer|null>} */
async function byWebGl(canvas) {
  const gl = Gl.on(canvas);
  const show = gl?.program(SHOW);
  return gl && gl.drawer((picture) => {
    gl.upload(picture);
    gl.pass(show, canvas, { from: gl.picture });
  });
}

/** @returns {Promise<Drawer|null>} */
async function background(canvas) {
  const gl = Gl.on(canvas);
  if (!gl) return null;
  const [copy, network, blur, mix] = [COPY, NETWORK, BLUR, MIX].map((text) => gl.program(text));
  const [half, other] = [0, 1].map(() => gl.target(canvas.width >> 1, canvas.height >> 1));
  let [mask, next] = [0, 1].map(() => gl.target(256, 144));
  const weights = layers();
  return gl.drawer((picture) => {
    gl.upload(picture);
    gl.pass(copy, mask, { from: gl.picture });
    for (const layer of weights) {
      gl.pass(network, next, { from: mask.texture }, [1 / 256, 1 / 144], layer);
      [mask, next] = [next, mask];
    }
    gl.pass(blur, half, { from: gl.picture }, [2 / half.width, 0]);
    gl.pass(blur, other, { from: half.texture }, [0, 2 / half.height]);
    gl.pass(mix, canvas, { from: gl.picture, blurred: other.texture, mask: mask.texture });
    if ('VideoFrame' in window) new VideoFrame(canvas, { timestamp: 0 }).close();
  });
}

/** The stand-in's weights, of matrices column by column: the four of a tap and an output sum up to 1/9, so that something is left of the picture. */
function layers() {
  const weight = (layer, i) => 1 / 36 + (i & 4 ? -0.1 : 0.1) * Math.sin(12 * layer + (i & ~4));
  return Array.from({ length: 12 }, (_, layer) => new Float32Array(9 * 16).map((__, i) => weight(layer, i)));
}

const CORNERS = `attribute vec2 at;
varying highp vec2 uv;
void main() { uv = at * .5 + .5; gl_Position = vec4(at, 0, 1); }`;
const HEAD = `precision mediump float;
varying highp vec2 uv;
uniform sampler2D from, blurred, mask;
uniform highp vec2 by;
`;
const COPY = 'void main() { gl_FragColor = texture2D(from, uv); }';
/** A picture's first line is its topmost one, a canvas's is the lowest. */
const SHOW = 'void main() { gl_FragColor = texture2D(from, vec2(uv.x, 1. - uv.y)); }';
const NETWORK = `uniform mat4 weights[9];
void main() {
vec4 sum = vec4(0);
for (int y = 0; y < 3; y++)
for (int x = 0; x < 3; x++) sum += weights[3 * y + x] * texture2D(from, uv + by * vec2(x - 1, y - 1));
gl_FragColor = sum;
}`;
const BLUR = `void main() {
vec4 sum = vec4(0);
for (int i = -4; i <= 4; i++) sum += exp(float(-i * i) / 8.) * texture2D(from, uv + by * float(i));
gl_FragColor = sum / 4.9;
}`;
const MIX = `void main() {
highp vec2 here = vec2(uv.x, 1. - uv.y);
float person = smoothstep(.4, .6, texture2D(mask, here).r);
gl_FragColor = vec4(mix(texture2D(blurred, here).rgb, texture2D(from, here).rgb, person), 1);
}`;

/** As much of WebGL as is needed here, of either version: passes that each fill their target from textures. */
class Gl {
  /** @returns {Gl|null} */
  static on(canvas) {
    const wanted = { alpha: false, antialias: false, depth: false, failIfMajorPerformanceCaveat: false };
    const gl = canvas.getContext('webgl2', wanted) ?? canvas.getContext('webgl', wanted);
    return gl && new Gl(gl);
  }

  constructor(gl) {
    this.gl = gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    // One triangle that covers everything.
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    this.picture = this.texture();
  }

  program(fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, CORNERS], [gl.FRAGMENT_SHADER, HEAD + fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, 'at');
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error('nothing is drawn');
    return program;
  }

  /** Of any size, as WebGL 1 wants it. */
  texture() {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    return texture;
  }

  target(width, height) {
    const { gl } = this;
    const texture = this.texture();
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    const framebuffer = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
    return { texture, framebuffer, width, height };
  }

  upload(picture) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  }

  /** Fills a target, or the canvas, by textures that go by their names in the shader. */
  pass(program, into, textures, by = [0, 0], weights = null) {
    const { gl } = this;
    const place = (name) => gl.getUniformLocation(program, name);
    gl.useProgram(program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, into.framebuffer ?? null);
    gl.viewport(0, 0, into.width, into.height);
    Object.keys(textures).forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, textures[name]);
      gl.uniform1i(place(name), unit);
    });
    gl.uniform2f(place('by'), ...by);
    if (weights) gl.uniformMatrix4fv(place('weights'), false, weights);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** @returns {Drawer} */
  drawer(draw) {
    const { gl } = this;
    return {
      draw,
      // Browsers do not wait for WebGL's own `finish`.
      finish: () => {
        gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
        if (gl.getError()) throw new Error('nothing is drawn');
      },
      close: () => gl.getExtension('WEBGL_lose_context')?.loseContext(),
    };
  }
}

/** The shader for pictures as they are (`texture_external`), or for copies of them. */
const wgsl = (kind) => `@group(0) @binding(0) var between: sampler;
@group(0) @binding(1) var picture: ${kind};
struct Corner { @builtin(position) at: vec4f, @location(0) uv: vec2f }
@vertex fn corner(@builtin(vertex_index) i: u32) -> Corner {
let uv = vec2f(f32(i & 1), f32(i >> 1)) * 2;
return Corner(vec4f(uv.x * 2 - 1, 1 - uv.y * 2, 0, 1), uv);
}
@fragment fn color(in: Corner) -> @location(0) vec4f { return textureSampleBaseClampToEdge(picture, between, in.uv); }`;

/** @returns {Promise<Drawer|null>} */
async function byWebGpu(canvas) {
  const adapter = await within(Promise.resolve(navigator.gpu?.requestAdapter()), ANSWER_MS);
  if (!adapter) return null;
  const asked = adapter.requestDevice();
  const device = await within(asked, ANSWER_MS).catch((error) => {
    asked.then((late) => late.destroy(), () => {});
    throw error;
  });
  try {
    return new Gpu(canvas, device);
  } catch (error) {
    device.destroy();
    throw error;
  }
}

class Gpu {
  #canvas;
  #context;
  #device;
  #format = navigator.gpu.getPreferredCanvasFormat();
  #sampler;
  #pipelines = {};
  /** How pictures are taken: as they are (0), copied (1), copied from a 2D canvas (2), which is all that Firefox takes. */
  #way = 0;
  #copy = null;
  #flat = sized(1, 1);
  #broken = false;
  #checked;
  /** Whether the end of the work is told late, and what it is seen by then. */
  #late = null;
  #eye = flat(sized(1, 1));

  constructor(canvas, device) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('webgpu');
    this.#device = device;
    this.#sampler = device.createSampler({ magFilter: 'linear', minFilter: 'linear' });
    this.#context.configure({ device, format: this.#format, alphaMode: 'opaque' });
    this.lost = device.lost.then(() => { this.#broken = true; });
  }

  draw(picture) {
    if (this.#broken) throw new Error('nothing is drawn');
    const device = this.#device;
    device.pushErrorScope('validation');
    try {
      const resource = this.#taken(picture);
      const pipeline = this.#pipeline(this.#way > 0 ? 'texture_2d<f32>' : 'texture_external');
      const entries = [{ binding: 0, resource: this.#sampler }, { binding: 1, resource }];
      const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      const encoder = device.createCommandEncoder();
      const view = this.#context.getCurrentTexture().createView();
      const pass = encoder.beginRenderPass({ colorAttachments: [{ view, loadOp: 'clear', storeOp: 'store' }] });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.draw(3);
      pass.end();
      device.queue.submit([encoder.finish()]);
    } finally {
      this.#check(this.#way);
    }
  }

  /** WebGPU tells later what it did not take. */
  #check(way) {
    this.#checked = this.#device.popErrorScope().then((error) => {
      if (!error) return;
      if (way === 2) this.#broken = true;
      else this.#way = Math.max(this.#way, way + 1);
    }, () => { this.#broken = true; });
  }

  #taken(picture) {
    try {
      if (this.#way === 0) return this.#device.importExternalTexture({ source: picture });
      return this.#copied(picture);
    } catch (error) {
      if (this.#way === 2) throw error;
      this.#way += 1;
      return this.#taken(picture);
    }
  }

  #copied(picture) {
    const { width, height } = this.#canvas;
    if (this.#copy?.width !== width || this.#copy.height !== height) {
      this.#copy?.destroy();
      const { COPY_DST, RENDER_ATTACHMENT, TEXTURE_BINDING } = GPUTextureUsage;
      const usage = COPY_DST | RENDER_ATTACHMENT | TEXTURE_BINDING;
      this.#copy = this.#device.createTexture({ size: [width, height], format: 'rgba8unorm', usage });
      Object.assign(this.#flat, { width, height });
    }
    if (this.#way === 2) flat(this.#flat).draw(picture);
    const source = this.#way === 2 ? this.#flat : picture;
    this.#device.queue.copyExternalImageToTexture({ source }, { texture: this.#copy }, [width, height]);
    return this.#copy.createView();
  }

  #pipeline(kind) {
    if (!this.#pipelines[kind]) {
      const module = this.#device.createShaderModule({ code: wgsl(kind) });
      const fragment = { module, targets: [{ format: this.#format }] };
      this.#pipelines[kind] = this.#device.createRenderPipeline({ layout: 'auto', vertex: { module }, fragment });
    }
    return this.#pipelines[kind];
  }

  /** Firefox looks only every 100 ms whether work is done: there the canvas is read, which waits for it. */
  async finish() {
    const done = () => within(this.#device.queue.onSubmittedWorkDone(), ANSWER_MS);
    if (this.#late) {
      this.#eye.draw(this.#canvas);
      this.#eye.finish();
    } else {
      await done();
    }
    if (this.#late === null) {
      // A queue with nothing in it answers at once, or it does not tell when work was done.
      const began = performance.now();
      await done();
      this.#late = performance.now() - began > 20;
    }
    await within(this.#checked, ANSWER_MS);
    if (this.#broken) throw new Error('nothing is drawn');
  }

  close() {
    this.#device.destroy();
  }
}
