// A WebSocket to the page's own server, where UDP gets nowhere; loaded there alone.

import { Queue, frames } from './carriers.js';
import { within } from './time.js';

const SOCKET_MS = 6_000;
/** What waits in the browser for a WebSocket that does not move, at most. */
const MOST_WAITING = 64_000;
const DATAGRAM = 0;
const CONTROL = 1;

/** By TCP: a message is one octet that says what it is, then its content. */
export class ByWebSocket {
  way = 'websocket';

  static async open(url) {
    const socket = new WebSocket(url);
    socket.binaryType = 'arraybuffer';
    const opened = new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = reject;
    });
    try {
      await within(opened, SOCKET_MS);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new ByWebSocket(socket);
  }

  constructor(socket) {
    this.socket = socket;
    this.packets = new Queue();
    this.octets = new Queue();
    socket.onmessage = ({ data }) => {
      const message = new Uint8Array(data);
      if (message[0] === DATAGRAM) this.packets.put(message.subarray(1));
      if (message[0] === CONTROL) this.octets.put(message.subarray(1));
    };
    const end = () => [this.packets, this.octets].forEach((queue) => queue.put(null));
    socket.onclose = end;
    socket.onerror = end;
  }

  async control() {
    return frames(this.octets.all());
  }

  async write(octets) {
    this.#put(CONTROL, octets);
  }

  async send(octets, now) {
    if (this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MOST_WAITING) throw new Error('the WebSocket takes nothing any more');
    const at = now();
    this.#put(DATAGRAM, octets);
    return at;
  }

  receive() {
    return this.packets.take();
  }

  close() {
    this.socket.close();
  }

  #put(kind, octets) {
    const message = new Uint8Array(1 + octets.length);
    message[0] = kind;
    message.set(octets, 1);
    this.socket.send(message);
  }
}
