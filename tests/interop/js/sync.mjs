// The records of others: "Catalogue" of docs/protocol.md.

import { decode as unpack, encode as pack } from '@msgpack/msgpack'
import { request } from './exchange.mjs'
import { readRecord } from './statements.mjs'
import { LEVEL, Tree, differing, runs } from './tree.mjs'

const MAX_ANSWER = 1024 * 1024 + 128 * 1024
const MAX_BATCH = 256
const MAX_BRANCHES = 64
const MAX_SPANS = 2048
const CIDS_AT_ONCE = 8000

const now = () => Math.floor(Date.now() / 1000)
const ahead = (one, other) => one.record.seq > other.record.seq ||
  (one.record.seq === other.record.seq && one.cid < other.cid)

export class Sync {
  constructor (network) {
    this.network = network
    this.prefix = `/openstall/${network}/records`
    this.held = new Map() // cid → { cid, record, raw }
    this.lies = new Map() // what this peer announces and nobody should take
  }

  // Of each author, type and key the highest number; a tombstone stands in the place of what it withdraws.
  live () {
    const places = new Map()
    for (const one of this.held.values()) {
      const { author, type, key, body, expires } = one.record
      if (expires <= now()) continue
      const place = type === 'tombstone' ? [author, body.target_type, body.target_key] : [author, type, key]
      const before = places.get(place.join('\n'))
      if (before === undefined || ahead(one, before)) places.set(place.join('\n'), one)
    }
    return [...places.values()].map(({ cid }) => cid)
  }

  tree () {
    return new Tree(this.live())
  }

  // Asking

  ask (connection, name, payload) {
    return request(connection, `${this.prefix}/${name}/2`, payload, MAX_ANSWER)
  }

  async withPeer (connection) {
    const tree = this.tree()
    const theirs = await this.ask(connection, 'digests', tree.root())
    if (!theirs.length) return { equal: true, listed: 0, gained: 0 }
    if (theirs.length !== LEVEL) throw new Error('no level of digests')
    const branches = differing(tree.branches(), theirs)
    const leaves = []
    for (let at = 0; at < branches.length; at += MAX_BRANCHES) {
      const asked = branches.slice(at, at + MAX_BRANCHES)
      const levels = await this.ask(connection, 'leaves', Uint8Array.from(asked))
      if (levels.length !== asked.length * LEVEL) throw new Error('no levels of digests')
      asked.forEach((branch, place) => {
        const level = levels.subarray(place * LEVEL, (place + 1) * LEVEL)
        leaves.push(...differing(tree.level(branch), level).map(leaf => 256 * branch + leaf))
      })
    }
    const cids = await this.list(connection, runs(leaves))
    const lacking = cids.filter(cid => !this.held.has(cid))
    await this.bodies(connection, lacking)
    return { equal: false, listed: cids.length, gained: lacking.length }
  }

  async list (connection, spans) {
    const found = []
    for (let at = 0; at < spans.length; at += MAX_SPANS) {
      const asked = spans.slice(at, at + MAX_SPANS)
      for (let after = '', more = true; more;) {
        const [cids, rest] = unpack(await this.ask(connection, 'cids', pack([asked, after])))
        found.push(...cids)
        after = cids.at(-1)
        more = rest
      }
    }
    return found
  }

  async bodies (connection, cids) {
    for (let pending = [...cids]; pending.length;) {
      const batch = pending.slice(0, MAX_BATCH)
      const raws = unpack(await this.ask(connection, 'bodies', pack(batch)))
      if (!raws.length) throw new Error('the records are withheld')
      for (const raw of raws) {
        const { cid, record } = readRecord(raw, this.network, now())
        if (!batch.includes(cid)) throw new Error('another record than was asked for')
        this.held.set(cid, { cid, record, raw: Buffer.from(raw) })
      }
      pending = pending.filter(cid => !this.held.has(cid))
    }
  }

  // Answering

  async serve (answer) {
    await answer(`${this.prefix}/digests/2`, 32 * 1024, root => {
      const tree = this.tree()
      return tree.root().equals(root) ? Buffer.alloc(0) : tree.branches()
    })
    await answer(`${this.prefix}/leaves/2`, 32 * 1024, branches => {
      const tree = this.tree()
      return Buffer.concat([...branches].map(branch => tree.level(branch)))
    })
    await answer(`${this.prefix}/cids/2`, 32 * 1024, asked => pack(this.tree().list(...unpack(asked), CIDS_AT_ONCE)))
    await answer(`${this.prefix}/bodies/2`, 32 * 1024, asked => pack(
      unpack(asked).map(cid => this.held.get(cid) ?? this.lies.get(cid)).filter(Boolean).map(({ raw }) => raw)
    ))
    await answer(`${this.prefix}/news/1`, 0, () => Buffer.alloc(0))
  }
}
