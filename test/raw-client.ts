import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A response as it came over the wire. */
export interface Answer {
  readonly status: number;
  /** The values of one field, by lower-case name, joined as RFC 9110 allows. */
  field(name: string): string | undefined;
  readonly body: Buffer;
  json(): unknown;
}

/** The client's side of one connection: sends exact bytes, and reads responses one after the other. */
export class Client {
  readonly socket: Socket;
  #waiters: (() => void)[] = [];
  #chunks: Buffer[] = [];
  #bytes = 0;
  #ended = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      this.#changed();
    });
    const end = () => {
      this.#ended = true;
      this.#changed();
    };
    socket.on('end', end);
    socket.on('close', end);
    // A connection that the server resets ends like any other.
    socket.on('error', end);
  }

  static async connect(port: number): Promise<Client> {
    // allowHalfOpen: the client decides when it ends its side.
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = new Client(socket);
    await once(socket, 'connect');
    return client;
  }

  /** Sends one request without a body: a line such as `GET /path`, HTTP/1.1 by default, and the fields as given. */
  send(line: string, ...fields: readonly string[]): void {
    this.socket.write(requestText(line, ...fields));
  }

  /** Reads the next response on this connection. */
  async answer(toHead = false): Promise<Answer> {
    await this.#until(() => this.#joined().includes('\r\n\r\n'));
    const head = (await this.#take(this.#joined().indexOf('\r\n\r\n') + 4)).toString('latin1');
    const [statusLine = '', ...lines] = head.trimEnd().split('\r\n');
    const fields = lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    });
    const field = (name: string) => {
      const values = fields.filter(([field]) => field === name).map(([, value]) => value);
      return values.length === 0 ? undefined : values.join(', ');
    };
    const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(statusLine)?.[1]);
    const body = await this.#body(status, field, toHead);
    return { status, field, body, json: () => JSON.parse(body.toString()) };
  }

  /** Resolves with the first byte, and then stops reading until `socket.resume()`. */
  async firstByte(): Promise<void> {
    await this.#until(() => this.#bytes > 0);
    this.socket.pause();
  }

  /** Reads until the server has ended the connection. Returns everything as text. */
  async rest(): Promise<string> {
    await this.#until(() => this.#ended);
    return (await this.#take(this.#bytes)).toString('latin1');
  }

  async #body(status: number, field: Answer['field'], toHead: boolean): Promise<Buffer> {
    if (toHead || status === 204 || status === 304) return Buffer.alloc(0);
    const length = field('content-length');
    if (length !== undefined) return this.#take(Number(length));
    if (field('transfer-encoding') !== 'chunked') {
      await this.#until(() => this.#ended);
      return this.#take(this.#bytes);
    }
    const parts: Buffer[] = [];
    for (;;) {
      await this.#until(() => this.#joined().includes('\r\n'));
      const size = Number.parseInt((await this.#take(this.#joined().indexOf('\r\n') + 2)).toString('latin1'), 16);
      const part = await this.#take(size + 2);
      if (size === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, size));
    }
  }

  async #until(isReady: () => boolean): Promise<void> {
    while (!isReady()) {
      if (this.#ended) throw new Error(`the connection ended after ${this.#bytes} unread bytes`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  #changed(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const resolve of waiters) resolve();
  }

  async #take(count: number): Promise<Buffer> {
    await this.#until(() => this.#bytes >= count);
    const all = this.#joined();
    this.#chunks = [all.subarray(count)];
    this.#bytes -= count;
    return all.subarray(0, count);
  }

  #joined(): Buffer {
    if (this.#chunks.length === 1 && this.#chunks[0] !== undefined) return this.#chunks[0];
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all;
  }
}

/** One request without a body, as it is sent. */
export function requestText(line: string, ...fields: readonly string[]): string {
  const whole = / HTTP\/1\.\d$/.test(line) ? line : `${line} HTTP/1.1`;
  return [whole, 'Host: gatewarden.test', ...fields, '', ''].join('\r\n');
}
