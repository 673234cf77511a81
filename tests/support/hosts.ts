// Hosts of a test: network namespaces with shared memory of their own, which a bridge of the kernel connects.

import { root } from "../../scripts/build-native.ts";
import { Child } from "./process.ts";

/** A host. */
export interface Host {
  readonly address: string;
  /** The words in front of a command that make it a process of this host. */
  readonly within: readonly string[];
  readonly namespace: string;
  readonly port: string;
  readonly init: Child;
}

/** Runs a shell script, which must succeed. */
async function sh(script: string): Promise<void> {
  await using child = Child.program(["sh", "-ec", script]);
  const { code, stderr } = await child.end();
  if (code !== 0) throw new Error(`${script}: ${stderr}`);
}

/** Hosts that reach each other, and nothing else. */
export class Hosts implements AsyncDisposable {
  readonly #name: string;
  readonly #hosts: Host[] = [];

  private constructor(name: string) {
    this.#name = name;
  }

  static async start(many: number): Promise<Hosts> {
    const hosts = new Hosts(`zb${process.pid}`);
    try {
      await hosts.#make(many);
      return hosts;
    } catch (error) {
      await hosts[Symbol.asyncDispose]();
      throw error;
    }
  }

  at(index: number): Host {
    return this.#hosts[index]!;
  }

  /** Waits until a buffer is there on a host. */
  async bufferMade({ within }: Host, name: string): Promise<void> {
    await using child = Child.program([
      ...within,
      "sh",
      "-c",
      `until [ -e /dev/shm/${name} ]; do sleep 0.05; done`,
    ]);
    await child.succeed();
  }

  /** Takes a host off the network, and brings it back. */
  async cut({ port }: Host): Promise<void> {
    await sh(`ip -n ${this.#switch} link set ${port} down`);
  }

  async mend({ port }: Host): Promise<void> {
    await sh(`ip -n ${this.#switch} link set ${port} up`);
  }

  /** A namespace of its own: nothing of it is seen by the machine. */
  get #switch(): string {
    return `${this.#name}-switch`;
  }

  async #make(many: number): Promise<void> {
    await sh(`ip netns add ${this.#switch}
      ip -n ${this.#switch} link add switch type bridge
      ip -n ${this.#switch} link set switch up`);
    for (let i = 0; i < many; i++) {
      const namespace = `${this.#name}-${i}`;
      const [port, address] = [`port${i}`, `10.213.0.${i + 1}`];
      await sh(`ip netns add ${namespace}
        ip -n ${namespace} link set lo up
        ip -n ${namespace} link add eth0 type veth peer name ${port} netns ${this.#switch}
        ip -n ${namespace} addr add ${address}/24 dev eth0
        ip -n ${namespace} link set eth0 up
        ip -n ${this.#switch} link set ${port} master switch
        ip -n ${this.#switch} link set ${port} up`);
      const isolate = `mkdir -p /tmp/zerobuffer
        for directory in /dev/shm /tmp/zerobuffer; do mount -t tmpfs -o mode=1777 tmpfs $directory || exit; done
        echo '{"event":"ready"}'; read _`;
      const init = Child.program([
        "ip",
        "netns",
        "exec",
        namespace,
        "unshare",
        "--mount",
        "sh",
        "-c",
        isolate,
      ]);
      await init.receive("ready");
      const within = ["nsenter", "--target", `${init.pid}`, "--net", "--mount", `--wd=${root}`];
      this.#hosts.push({ address, within, namespace, port, init });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { init } of this.#hosts) await init[Symbol.asyncDispose]();
    const names = [...this.#hosts.map(({ namespace }) => namespace), this.#switch];
    await sh(names.map((name) => `ip netns del ${name} || true`).join("\n"));
  }
}
